"""The curves of QuantSR's supplement from a log."""

from pathlib import Path

import pytest
import quantsr_statistics
from PIL import Image

COLUMNS = [
    "step",
    "psnr",
    *(f"{name}_{what}" for name in quantsr_statistics.PARAMETERS for what in ("mean", "std")),
    "gradient_change",
    "shortcut.body.0",
]


def test_plot(tmp_path: Path):
    rows = [[str(step), "", *["0.5"] * (len(COLUMNS) - 2)] for step in (10, 20)]
    (tmp_path / "metrics.csv").write_text("\n".join(",".join(row) for row in [COLUMNS, *rows]) + "\n")
    assert quantsr_statistics.read_log(tmp_path / "metrics.csv")["step"] == [10, 20]
    quantsr_statistics.main([str(tmp_path)])
    with Image.open(tmp_path / "quantsr_statistics.png") as picture:
        assert picture.width > picture.height > 100


def test_logs_of_other_methods_are_refused(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text("step,loss\n1,0.5\n")
    with pytest.raises(SystemExit, match="quantsr"):
        quantsr_statistics.main([str(tmp_path)])
