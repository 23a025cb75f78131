"""The version of the code changes with the code, not with its explanations."""

import pytest
from ptq_origin import code_version

CODE = '''
"""A module."""

RATE = 0.5
"""Of learning."""


class Step:
    """A step."""

    def size(self, bits: int = 4) -> float:
        """Its size."""
        if bits:
            return RATE / bits  # not zero
        return 0.0
'''


@pytest.fixture
def version(tmp_path, monkeypatch):
    """The version of a package with one file of the given content."""
    package, benchmarks = tmp_path / "package", tmp_path / "benchmarks"
    package.mkdir()
    benchmarks.mkdir()
    (benchmarks / "ptq_run.py").write_text("x = 1\n")
    monkeypatch.setattr("ptq_origin.SOURCES", (package, benchmarks))

    def of(content: str) -> str:
        (package / "module.py").write_text(content)
        return code_version()

    return of


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another text."""'),
        ('"""A module."""', ""),
        ('"""Of learning."""', '"""Of the weights, per step."""'),
        ('"""A step."""', ""),
        ('"""Its size."""', '"""The size.\n\n        Args:\n            bits: of the grid.\n        """'),
        ("  # not zero", ""),
        ("RATE / bits", "(RATE /\n                bits)"),
    ],
)
def test_explanations_and_layout_keep_the_version(version, old, new):
    assert CODE.count(old) == 1
    assert version(CODE.replace(old, new)) == version(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.5", "0.25"),
        ("bits: int = 4", "bits: int = 8"),
        ("if bits:", "if not bits:"),
        ("return 0.0", 'return "0.0"'),
        ("RATE = 0.5", "RATE = 0.5\nOTHER = 1"),
    ],
)
def test_code_changes_the_version(version, old, new):
    assert CODE.count(old) == 1
    assert version(CODE.replace(old, new)) != version(CODE)


def test_the_script_of_a_run_counts_too(version, tmp_path):
    before = version(CODE)
    (tmp_path / "benchmarks" / "ptq_run.py").write_text("x = 2\n")
    assert version(CODE) != before
