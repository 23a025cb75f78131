"""The Triton engine gives the bits of the PyTorch engine, and says what it needs."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn
from typer.testing import CliRunner

from srquant.cli.app import app
from srquant.deploy.triton.prepare import prepare
from srquant.errors import EngineError
from srquant.models.network import Facts, Network
from srquant.upscale.engines.open_engine import open_engine

SCRIPT = Path(__file__).with_name("triton_cases.py")
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't installed")


@needs_triton
@pytest.mark.parametrize(
    ("case", "counts"),
    [
        ("edsr 2 bits", "6 8 0"),
        ("edsr 3 bits, grids per channel", "6 8 0"),
        ("edsr 4 bits, 8-bit skips", "6 8 0"),
        ("edsr 8 bits, 40 channels", "6 8 0"),
        ("rnet 4 bits", "4 8 0"),
        ("carn 4 bits", "10 22 12"),
        ("msrresnet 4 bits", "4 9 0"),
    ],
)
def test_same_bits_as_pytorch(case: str, counts: str) -> None:
    """In a process of its own: whether Triton interprets its kernels is decided when it is imported."""
    command = [sys.executable, "-W", "error::RuntimeWarning", str(SCRIPT), case]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == counts


def test_without_triton(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(EngineError, match=r"pip install 'srquant\[triton\]'"):
        open_engine("triton", network)


@needs_triton
def test_without_cuda(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(EngineError, match="needs a CUDA device, but the network is on cpu"):
        open_engine("triton", network)


def test_the_command_line_ends_with_code_2(smooth_pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    folder = smooth_pictures(1, 8, 8)
    arguments = ["upscale", "edsr_small_x2", str(folder), "-o", str(tmp_path / "up"), "--engine", "triton"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert not (tmp_path / "up").exists()


def test_networks_without_frozen_layers_stay_as_they_are(network: Network) -> None:
    copied = prepare(network)
    assert {name: type(m) for name, m in network.named_modules() if isinstance(m, nn.Conv2d)} == {
        name: type(m) for name, m in copied.named_modules() if isinstance(m, nn.Conv2d)
    }


class Loop(nn.Module):
    """Its steps depend on the picture, so it can't be traced."""

    def forward(self, images):
        return images * 2 if images.mean() > 0 else images


def test_networks_that_cannot_be_traced_run_untraced() -> None:
    prepared = prepare(Network(Loop(), Facts("custom", 1, 1.0, (), ())))
    assert isinstance(prepared, Network)
