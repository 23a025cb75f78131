"""The benchmark of bits per patch: what it notes of each patch, and what it writes."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import qat_patches
import torch
from PIL import Image

from srquant.deploy.file.save_load import save
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.cadyq import method as cadyq
from srquant.models.load import build


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures of 2 and 1 patches at scale 2, the second flat."""
    folder = tmp_path / "Tiny" / "HR"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (24, 48, 3), np.uint8)
    Image.fromarray(noise).save(folder / "a.png")
    Image.fromarray(np.full((24, 24, 3), 99, np.uint8)).save(folder / "b.png")
    return folder.parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Flat patches take 4 bits, others 8."""
    network = build("edsr", {"blocks": 1, "features": 4, "scale": 2}).eval()
    policy = Policy(LayerBits(8, 8), head=None, tail=None)
    student = cadyq.prepare(network, [torch.rand(2, 3, 12, 12)], policy, cadyq.CADyQ(), 3)
    for quantizer in cadyq.selectors(student.network):
        with torch.no_grad():
            quantizer.selector.weight.zero_()
            quantizer.selector.weight[2, 0] = 1.0
            quantizer.selector.bias.copy_(torch.tensor([5.0, 0.0, 0.0]))
    save(freeze(student.eval().result()), tmp_path / "cadyq.safetensors")
    return tmp_path / "cadyq.safetensors"


def test_fab_of_every_patch_is_noted(data, file, tmp_path, monkeypatch):
    arguments = [f"cadyq={file}", "--data", str(data), "--patch", "12", "-o", str(tmp_path / "result")]
    monkeypatch.setattr(sys, "argv", ["qat_patches.py", *arguments])
    qat_patches.main()
    (row,) = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert row["patches"] == {"a": [8.0, 8.0], "b": [4.0]}
    assert row["fab"] == 6.0
    assert (row["smallest"], row["median"], row["largest"]) == (4.0, 8.0, 8.0)
    assert row["shares"] == "33, 0, 0, 0, 0, 0, 0, 67"
    assert "| cadyq |" in (tmp_path / "result.md").read_text()
