"""The overlap of tiles must cover what outputs really depend on, measured by gradients."""

import pytest
import torch
from torch import Tensor, nn

from srquant.models.architectures.edsr import EDSR
from srquant.models.network import Facts, Network
from srquant.upscale.tiles.tiling import INEXACT_OVERLAP, measure_tiling


def network_of(module: nn.Module, scale: int) -> Network:
    return Network(module, Facts("custom", scale, 1.0, (), ()))


def measured_radius(network: Network, side: int) -> int:
    """Largest distance from an output pixel to an input pixel that its gradient reaches."""
    scale, middle, radius = network.facts.scale, side // 2, 0
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.01, 0.02)  # positive: nothing cancels, no ReLU is dead
    for row in range(scale * middle, scale * (middle + 4)):
        image = torch.full((1, 3, side, side), 300.0, requires_grad=True)
        network(image)[0, :, row, scale * middle].sum().backward()
        assert image.grad is not None
        rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
        radius = max(radius, int((rows - row // scale).abs().max()))
    return radius


class Hourglass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.PixelShuffle(2)
        self.end = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.up(self.middle(self.down(images))))


MODULES = {
    "edsr x2": (EDSR(2, 4, 2), 2),
    "edsr x3": (EDSR(1, 4, 3), 3),
    "edsr x4": (EDSR(1, 4, 4), 4),
    "dilated": (nn.Sequential(nn.Conv2d(3, 4, 3, padding=3, dilation=3), nn.Conv2d(4, 3, 5, padding=2)), 1),
    "oblong": (nn.Conv2d(3, 3, (7, 1), padding=(3, 0)), 1),
    "one-sided": (nn.Sequential(nn.ZeroPad2d((0, 2, 0, 2)), nn.Conv2d(3, 3, 3)), 1),
    "transposed": (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ConvTranspose2d(4, 3, 4, 2, 1)), 2),
    "bilinear": (nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(3, 3, 3, padding=1)), 2),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), 2),
    "pooled": (nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.MaxPool2d(5, 1, 2)), 1),
    "strided": (Hourglass(), 1),
}


@pytest.mark.parametrize("name", MODULES)
def test_radius_covers_what_gradients_reach(name: str) -> None:
    module, scale = MODULES[name]
    network = network_of(module, scale)
    tiling = measure_tiling(network)
    assert tiling.exact
    assert measured_radius(network, 64) <= tiling.overlap


@pytest.mark.parametrize(("blocks", "scale"), [(1, 2), (3, 2), (2, 3), (2, 4)])
def test_radius_is_tight_for_edsr(blocks: int, scale: int) -> None:
    network = network_of(EDSR(blocks, 4, scale), scale)
    assert measure_tiling(network).overlap <= measured_radius(network, 64) + 1


def test_strided_networks_need_aligned_tiles() -> None:
    assert measure_tiling(network_of(Hourglass(), 1)).alignment == 2
    assert measure_tiling(network_of(EDSR(1, 4, 2), 2)).alignment == 1


class ChannelAttention(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images * images.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("module", [ChannelAttention(), nn.AdaptiveAvgPool2d(32), nn.GroupNorm(1, 3)])
def test_networks_that_see_everything_are_not_exact(module: nn.Module) -> None:
    tiling = measure_tiling(network_of(module, 1))
    assert not tiling.exact
    assert tiling.overlap == INEXACT_OVERLAP


def test_facts_can_deny_exactness() -> None:
    facts = Facts("custom", 1, 1.0, (), (), tiles_exactly=False)
    assert not measure_tiling(Network(nn.Conv2d(3, 3, 3, padding=1), facts)).exact


def test_memory_estimate_grows_with_features() -> None:
    small, large = (measure_tiling(network_of(EDSR(1, f, 2), 2)).bytes_per_pixel for f in (8, 64))
    assert large == 8 * small
