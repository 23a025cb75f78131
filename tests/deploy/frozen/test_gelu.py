"""Networks with GELU, batch norm and sums on grids: the frozen network gives the fake-quantized picture."""

import pytest
import torch
from torch import Tensor, nn

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.registry import METHODS
from srquant.models.blocks.layers import Add
from srquant.models.wrap import wrap


class Block(nn.Module):
    """A sum with a branch of convolutions, GELU between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(channels, channels, 1, groups=4),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.add = Add(0.37)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.add(x, self.branch(x))
        return total


def network(channels=16):
    module = nn.Sequential(
        nn.Conv2d(3, channels, 3, padding=1),
        nn.BatchNorm2d(channels),
        Block(channels),
        Block(channels),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Conv2d(channels, 3, 3, padding=1),
    )
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 2)
    return wrap(module.eval(), 2)


@pytest.mark.parametrize("bits", [5, 8])
@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_the_picture_is_the_same(smooth_pictures, pictures, bits, granularity):
    policy = Policy(LayerBits(bits, bits), granularity=granularity, skip_bits=8)
    calibration = CalibrationSet(smooth_pictures(4, 40, 40), count=4, patch=32)
    quantized = METHODS["mse"].quantize(network(), calibration, policy, METHODS["mse"].config())
    images = pictures(side=40)
    with torch.no_grad():
        expected, found = quantized.network(images), freeze(quantized).network(images)
    assert (found - expected).abs().max() < 1e-5 * (expected.max() - expected.min())
