"""The worked examples of CONTRIBUTING.md: their code, added to a copy of srquant, passes its own tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"```(python|diff)\n# (\S+)\n(.*?)```", re.DOTALL)
EXAMPLES = {
    "A new method, from paper to command line": "tests/methods/ranges/test_three_sigma.py",
    "A new network, from checkpoint to integers": "tests/models/test_plain.py",
    "A new kind of grid, from quantizer to file": "tests/quantizers/test_logarithmic.py",
}


def section(title: str) -> str:
    """The text of CONTRIBUTING.md between a heading and the next one."""
    _, _, behind = (ROOT / "CONTRIBUTING.md").read_text().partition(f"\n## {title}\n")
    return behind.partition("\n## ")[0]


def patched(text: str, diff: str) -> str:
    """A file after a change that names its place by the lines around it, which must be there exactly once."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    assert text.count(before) == 1, f"not there once: {before}"
    return text.replace(before, after)


def add_code(title: str, root: Path) -> list[str]:
    """Write and change the files of an example; their names."""
    names = []
    for language, name, code in BLOCK.findall(section(title)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code if language == "python" else patched(path.read_text(), code))
        names.append(name)
    return names


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("title", EXAMPLES)
def test_example_passes_its_own_tests(title: str, copied: Path):
    names = add_code(title, copied)
    assert EXAMPLES[title] in names
    assert len(set(names)) <= 5, "a change touches at most five files"
    result = run(copied, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", *sorted(set(names)))
    assert result.returncode == 0, result.stdout
    assert re.search(r"^[2-9] passed", result.stdout, re.MULTILINE), result.stdout


def test_the_new_method_is_on_the_command_line(copied: Path):
    add_code("A new method, from paper to command line", copied)
    result = run(copied, "-m", "srquant", "methods", "three-sigma")
    assert result.returncode == 0, result.stderr
    assert "sigmas" in result.stdout


def test_a_change_without_its_place_is_noticed():
    with pytest.raises(AssertionError, match="not there once"):
        patched("a\nb\n", " c\n+d\n")
