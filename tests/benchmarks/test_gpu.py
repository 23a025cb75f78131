"""``benchmarks/gpu.sh`` runs every step at a tiny size on the CPU, and a cut run keeps what it has."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from gpu_quantize import at_most, differences
from gpu_setting import Setting
from gpu_store import Store

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.sh"
STEPS = ["quantize", "agreement", "engines", "training", "qat", "distill"]
METHODS = {"minmax", "percentile", "mse", "ptq4sr", "adabm", "2dquant", "outlier-aware", "gba", "tails"}


@pytest.mark.timeout(1200)
@pytest.mark.skipif(os.name == "nt", reason="the script needs bash")
def test_every_step_runs(tmp_path):
    """With four times the time of a GPU, as busy machines are slow."""
    command = ["bash", str(SCRIPT), "--device", "cpu", "--small", "--minutes", "36", "--output", str(tmp_path / "gpu")]
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    steps = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    assert list(steps) == STEPS
    quantized = steps["quantize"]["rows"]
    assert {row["method"] for row in quantized} >= METHODS
    assert all(row["seconds"] > 0 for row in quantized), quantized
    compared = steps["agreement"]["rows"]
    assert all(row["same_bits"] for row in compared if row["engine"] == "torch"), compared
    if importlib.util.find_spec("triton"):
        assert all(row["same_bits"] for row in compared), compared
        assert [row["same_bits"] for row in steps["engines"]["rows"][:2]] == [True, True]
    assert all(row["step_seconds"] > 0 for row in steps["training"]["rows"][:2] + steps["qat"]["rows"])
    assert steps["training"]["rows"][2] == {"run": "a step with one process of gloo", "steps": 1}
    page = (tmp_path / "gpu.md").read_text()
    assert "CPU, shows only that the step runs" in page
    assert "| gba |" in page


@pytest.fixture
def setting(tmp_path):
    return Setting(torch.device("cpu"), True, tmp_path, 2)


def test_a_cut_run_keeps_its_rows_and_a_step_replaces_its_own(tmp_path, setting):
    first = Store(tmp_path / "gpu", "quantize", setting)
    first.add(method="minmax", seconds=1.5)
    Store(tmp_path / "gpu", "engines", setting).add(engine="float16", median_ms=1.0)
    steps = json.loads((tmp_path / "gpu.json").read_text())["steps"]
    assert steps["quantize"]["rows"] == [{"method": "minmax", "seconds": 1.5}]
    assert len(steps["engines"]["rows"]) == 1
    Store(tmp_path / "gpu", "engines", setting)
    assert json.loads((tmp_path / "gpu.json").read_text())["steps"]["engines"]["rows"] == []


def test_slow_methods_are_stopped():
    with pytest.raises(TimeoutError, match=r"after 0\.05 s"), at_most(0.05):
        time.sleep(10)


def test_differences_in_grey_levels():
    wanted = torch.full((1, 3, 2, 2), 0.5).numpy()
    found = wanted.copy()
    found[0, 0, 0, 0] += 2 / 255
    assert differences(found, wanted)["largest"] == 2
    assert differences(found, wanted)["equal"] == pytest.approx(11 / 12)
    assert differences(wanted, wanted)["psnr_db"] == "same picture"


def test_random_pictures_and_weights_are_named(setting):
    assert setting.about == "EDSR 2x8 x4, random weights, random pictures"
    assert len(list(setting.pictures().iterdir())) == 4
