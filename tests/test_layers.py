"""The order of the layers in docs/architecture.md: imports go down, in no circle, and no folder grows too large."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
PACKAGE = SOURCE / "srquant"

LAYERS = (
    ("errors", "file_owners"),
    ("files", "temporary_folders"),
    ("devices",),
    ("grids",),
    ("models", "data"),
    ("quantizers",),
    ("insertion",),
    ("weight_rounding", "distillation"),
    ("training",),
    ("methods",),
    ("deploy.layer_precision", "deploy.one_by_one", "deploy.frozen"),
    ("deploy.float_form", "deploy.frozen_leaves"),
    ("deploy.file", "deploy.export"),
    ("deploy.openvino", "deploy.onnx", "deploy.triton"),
    ("deploy.tensorrt",),
    ("measure",),
    ("upscale",),
    ("report",),
    ("analyse",),
    ("cli",),
)
"""Lowest first; those side by side don't import each other."""

BESIDE = {"classify"}
"""Imports what it likes below ``cli``; nothing imports it."""

MOST_MODULES = 12
LARGE = {"cli", "classify"}
"""Folders that may have more: one file per verb, and a branch that stands alone."""


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imported(path: Path) -> Iterator[str]:
    """Modules of srquant that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("srquant."):
            module = str(node.module).removeprefix("srquant.")
            for alias in node.names:
                yield f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module


def layer_of(module: str) -> tuple[int, str] | None:
    """Number of the layer and the name of the folder in it."""
    for number, folders in enumerate(LAYERS):
        for folder in folders:
            if module == folder or module.startswith(f"{folder}."):
                return number, folder
    return None


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty without one."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [*way[way.index(module) :], module]
        if module in done:
            return []
        for other in sorted(edges.get(module, ())):
            found = visit(other, [*way, module])
            if found:
                return found
        done.add(module)
        return []

    return next((found for module in sorted(edges) if (found := visit(module, []))), [])


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"", "__main__"}))
def test_every_module_has_its_layer_and_imports_go_down(module: str):
    own = layer_of(module)
    if module.split(".")[0] in BESIDE:
        assert all(not other.startswith("cli") for other in imported(MODULES[module]))
        return
    if "." not in module and own is None:
        assert list(imported(MODULES[module])) == [], "packages of several layers import nothing"
        return
    assert own is not None, f"{module} is in no layer: name it in LAYERS and in docs/architecture.md"
    for other in imported(MODULES[module]):
        theirs = layer_of(other)
        assert theirs is not None, f"{module} imports {other}, which stands beside the layers"
        assert theirs[1] == own[1] or theirs[0] < own[0], f"{module} imports {other}, which is not below it"


def test_no_imports_in_a_circle():
    edges = {module: set(imported(path)) - {module} for module, path in MODULES.items() if module}
    assert circle(edges) == []


def test_a_circle_would_be_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == ["a", "b", "c", "a"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}), ids=lambda folder: folder.name)
def test_no_folder_is_too_large(folder: Path):
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    if folder.name not in LARGE:
        assert len(modules) <= MOST_MODULES, f"{folder.name} has {len(modules)} modules: split it by ideas"


def test_architecture_draws_every_folder():
    drawn = (SOURCE.parent / "docs" / "architecture.md").read_text()
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert [folder for folder in sorted(folders) if f"  {folder}/" not in drawn] == []
