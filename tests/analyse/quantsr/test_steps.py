import csv
import io

import pytest

from srquant.analyse.quantsr.steps import PARAMETERS, read_log, step_files
from srquant.errors import InputError

COLUMNS = [
    "step",
    "psnr",
    *(f"{name}_{what}" for name in PARAMETERS for what in ("mean", "std", "min", "max")),
    "gradient_change",
    "shortcut.body.0",
]


@pytest.fixture
def log(tmp_path):
    rows = [[str(step), "", *["0.5", "0.25", "0.125", "2"] * len(PARAMETERS), "0.07", "1"] for step in (10, 20)]
    path = tmp_path / "metrics.csv"
    path.write_text("\n".join(",".join(row) for row in [COLUMNS, *rows]) + "\n")
    return path


def test_variances_and_ranges(log):
    files = step_files(read_log(log))
    first, second = csv.DictReader(io.StringIO(files["steps.csv"].decode()))
    assert (first["step"], second["step"]) == ("10", "20")
    assert (first["shift_variance"], first["shift_min"], first["shift_max"]) == ("0.0625", "0.125", "2")
    assert files["steps.png"].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("step,loss\n1,0.5\n", "has no column 'gradient_change'"),
        (",".join(name for name in COLUMNS if not name.endswith("_max")) + "\n" + "1," * 10 + "\n", "_max'"),
        (",".join(COLUMNS) + "\n", "has no rows yet"),
    ],
)
def test_other_logs_are_refused(tmp_path, text, says):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        read_log(tmp_path / "metrics.csv")


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.csv \(No such file"):
        read_log(tmp_path / "metrics.csv")
