"""The overlap of tiles must cover what outputs really depend on, measured by gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srquant.data.images import read_rgb
from srquant.models.architectures.edsr import EDSR
from srquant.models.load import load_model
from srquant.models.network import Facts, Network
from srquant.models.wrap import wrap
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.tiles.tiling import INEXACT_OVERLAP, measure_tiling
from srquant.upscale.tiles.upscale_tiles import upscale_array, upscale_tile


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


class FlipAdded(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images + 0.1 * images.flip(3)


def test_wrapped_networks_that_see_everything_in_an_unknown_way_are_found_out() -> None:
    assert not measure_tiling(wrap(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), FlipAdded()), 1)).exact
    assert measure_tiling(wrap(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Hardswish()), 1)).exact


def far_network(decay: float) -> Network:
    """80 convolutions, each of which gives its neighbours' mean the weight ``decay``."""
    layers = [nn.Conv2d(3, 3, 3, padding=1, groups=3, bias=False) for _ in range(80)]
    for layer in layers:
        nn.init.constant_(layer.weight, decay / 8)
        layer.weight.data[:, :, 1, 1] = 1 - decay
    return wrap(nn.Sequential(*layers), 1)


def test_overlap_of_networks_that_see_far_is_what_matters() -> None:
    tiling = measure_tiling(far_network(0.1))
    assert 4 <= tiling.overlap <= 30
    assert not tiling.exact
    image = np.random.default_rng(0).integers(0, 256, (90, 220, 3), np.uint8)
    engine = TorchEngine(far_network(0.1))
    difference = upscale_array(engine, image, 40).astype(int) - upscale_tile(engine, image)
    assert np.abs(difference).max() == 1


def test_a_network_that_needs_all_of_its_reach_keeps_it() -> None:
    layers = [nn.Conv2d(3, 3, (1, 3), padding=(0, 1), groups=3, bias=False) for _ in range(80)]
    for layer in layers:
        nn.init.zeros_(layer.weight)
        layer.weight.data[..., 2] = 1  # moves the picture by a pixel
    tiling = measure_tiling(wrap(nn.Sequential(*layers), 1))
    assert (tiling.overlap, tiling.exact) == (80, True)


def test_tiles_of_a_published_network_that_sees_far(shared: Path) -> None:
    network = load_model(shared / "weights" / "rrdb" / "RealESRGAN_x4plus_anime_6B_fp16.pth")
    engine = TorchEngine(network)
    assert 40 <= engine.tiling.overlap <= 64
    image = read_rgb(shared / "data" / "Set14" / "LR_bicubic" / "X4" / "zebrax4.png")[:72]
    difference = upscale_array(engine, image, 16).astype(int) - upscale_tile(engine, image)
    assert np.abs(difference).max() <= 1


def test_facts_can_deny_exactness() -> None:
    facts = Facts("custom", 1, 1.0, (), (), tiles_exactly=False)
    assert not measure_tiling(Network(nn.Conv2d(3, 3, 3, padding=1), facts)).exact


def test_memory_estimate_grows_with_features() -> None:
    small, large = (measure_tiling(network_of(EDSR(1, f, 2), 2)).bytes_per_pixel for f in (8, 64))
    assert large == 8 * small
