"""The demo, with the quick recipes only."""

import pytest
import pyvips

from srquant.cli import demo_steps
from srquant.cli.demo_pictures import CALIBRATION_PICTURES, TEST_PICTURES


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(
        demo_steps, "RECIPES", tuple(r for r in demo_steps.RECIPES if r.finetune == "none" and r.bits == 4)
    )
    for name, value in {"HEIGHT": 16, "WIDTH": 16, "ROUNDS": 1}.items():
        monkeypatch.setattr(demo_steps, name, value)


def test_table_files_and_pictures(run, quick, tmp_path):
    result = run("demo", "-o", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    rows = {line.split("│")[1].strip(): line.split("│")[2:-1] for line in result.stdout.splitlines() if "│" in line}
    assert list(rows) == ["bicubic", "float", "4-bit min-max"]
    psnr = {label: float(cells[0]) for label, cells in rows.items()}
    assert psnr["float"] > psnr["bicubic"] + 1
    assert psnr["4-bit min-max"] < psnr["float"]
    size = {label: float(cells[2]) for label, cells in rows.items() if cells[2].strip() != "-"}
    assert size["4-bit min-max"] < 0.4 * size["float"]
    assert [[cell.strip() != "-" for cell in cells[3:]] for cells in rows.values()] == [
        [False, False, False],
        [True, True, False],
        [False, False, True],
    ]
    folder = tmp_path / "demo"
    assert (folder / "edsr_small_x2_w4a4_minmax.safetensors").exists()
    for name in ("float", "w4a4_minmax"):
        assert sorted(p.stem for p in (folder / name).glob("*.png")) == ["astronautx2", "chelseax2", "rocketx2"]
    sheet = pyvips.Image.new_from_file(str(folder / "comparison.png"))
    assert sheet.width == 4 * (64 * 3 + 6) - 6


def test_pictures_to_learn_from_and_to_measure_on_differ():
    assert not set(CALIBRATION_PICTURES) & set(TEST_PICTURES)


def test_existing_folder_needs_overwrite(run, complaint, tmp_path):
    assert "--overwrite" in complaint(run("demo", "-o", tmp_path))
