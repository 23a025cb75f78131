"""The kernels give the bits of the frozen PyTorch layers."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srquant.deploy.frozen.channels import ChannelScaling
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.deploy.triton.code_grid import is_supported, padded_channels
from srquant.deploy.triton.kernels.configurations import CANDIDATES

CASES = Path(__file__).with_name("kernel_cases.py")
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton isn't installed")


@needs_triton
def test_kernels_give_the_bits_of_the_frozen_layers():
    """In a process of its own: whether Triton interprets its kernels is decided when it is imported."""
    command = [sys.executable, "-W", "error", str(CASES)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("equal") == 4


@needs_triton
def test_the_fastest_candidate_that_runs_is_chosen():
    from srquant.deploy.triton.kernels.choose import fastest

    def milliseconds(candidate):
        if candidate == CANDIDATES[1]:
            raise RuntimeError("out of registers")
        return float(abs(CANDIDATES.index(candidate) - 2))

    assert fastest(CANDIDATES, milliseconds) == CANDIDATES[2]
    assert fastest(CANDIDATES[:2], milliseconds) == CANDIDATES[0]


@needs_triton
def test_no_candidate_runs():
    from srquant.deploy.triton.kernels.choose import fastest
    from srquant.errors import EngineError

    with pytest.raises(EngineError, match=r"division by zero.*--engine torch"):
        fastest(CANDIDATES, lambda candidate: 1 / 0)


@pytest.mark.parametrize(("channels", "padded"), [(1, 32), (32, 32), (33, 64), (64, 64), (65, 128)])
def test_channels_fill_whole_blocks(channels, padded):
    assert padded_channels(channels) == padded


def conv(kernel=3, stride=1, padding=1, dilation=1, groups=1, before=None, grid=None):
    weight = torch.ones(4, 4 // groups, kernel, kernel, dtype=torch.int8)
    window = ((value, value) for value in (stride, padding, dilation))
    grid = grid or FrozenGrid(torch.tensor(0.0), torch.tensor(15.0), 16)
    return FrozenConv2d(grid, weight, torch.ones(4), None, *window, groups, 4, before)


def scaling(padding):
    return ChannelScaling(torch.zeros(4, 1, 1), torch.ones(4, 1, 1), (padding, padding))


def test_supported_convolutions():
    assert is_supported(conv())
    assert is_supported(conv(padding=0, before=scaling(1)))
    assert is_supported(conv(padding=1, before=scaling(0)))


@pytest.mark.parametrize(
    "layer",
    [
        conv(kernel=1, padding=0),
        conv(stride=2),
        conv(padding=0),
        conv(dilation=2),
        conv(groups=2),
        conv(before=torch.nn.Identity()),
        conv(before=scaling(0), grid=FrozenGrid(torch.tensor(-8.0), torch.tensor(7.0), 16)),
    ],
)
def test_other_convolutions_are_left_to_pytorch(layer):
    assert not is_supported(layer)
