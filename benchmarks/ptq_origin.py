"""What the result of a run depends on besides its settings: pictures, weights, and the code."""

import ast
import hashlib
from pathlib import Path

import srquant

SOURCES = (Path(srquant.__file__).parent, Path(__file__).parent)
"""The package, and what the benchmark runs around it."""


def origin(pictures: Path) -> dict[str, str]:
    """``data`` and ``code``: versions of 16 hexadecimal digits each, as a run's file stores them."""
    return {"data": data_version(pictures), "code": code_version()}


def data_version(pictures: Path) -> str:
    """Version of all pictures and weights, by names and sizes; without low-resolution pictures that srquant makes."""
    files = sorted(
        path
        for pattern in ("weights/**/*", "data/*/HR/*", "data/DIV2K_test_LR/**/*")
        for path in pictures.glob(pattern)
        if path.is_file()
    )
    return _digest("\n".join(f"{path.relative_to(pictures)} {path.stat().st_size}" for path in files).encode())


def code_version() -> str:
    """Version of the source code that quantizes and measures: the package, and ``ptq_run.py``.

    Comments, docstrings and the layout of lines don't change it.
    """
    package, benchmarks = SOURCES
    files = [*sorted(package.rglob("*.py")), benchmarks / "ptq_run.py"]
    return _digest("\0".join(without_comments(path.read_text()) for path in files).encode())


def without_comments(source: str) -> str:
    """The source code without comments and docstrings, in one layout; it need not be valid Python.

    Strings that stand alone as a statement, behind an attribute for example, count as docstrings.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, [statement for statement in block if not _is_text(statement)])
    return ast.unparse(tree)


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
