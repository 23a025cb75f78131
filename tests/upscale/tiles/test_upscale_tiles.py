"""A picture upscaled in tiles is the picture upscaled in one piece."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from srquant.data.images import read_rgb
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.load import build, load_model
from srquant.models.network import Facts, Network
from srquant.upscale.engines.protocol import Images
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.pictures.rows import ArrayRows, Pixels
from srquant.upscale.tiles.upscale_tiles import upscale_array, upscale_rows, upscale_tile


def noise(height: int, width: int, bands: int = 3, dtype: type = np.uint8) -> Pixels:
    white = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, white, (height, width, bands), dtype, endpoint=True)


class DoubleEngine:
    """Float64 inside, so that the order of sums, which depends on shapes, can't tip a rounding tie."""

    name = "double"

    def __init__(self, network: Network) -> None:
        engine = TorchEngine(network)
        self.network, self.facts, self.tiling = engine.network.double(), engine.facts, engine.tiling
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: Images) -> Images:
        self.shapes.append(images.shape)
        with torch.inference_mode():
            return self.network(torch.from_numpy(images).double()).float().numpy()


@pytest.fixture
def double() -> DoubleEngine:
    return DoubleEngine(Network(EDSR(1, 4, 2), facts(1, 4, 2)))


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), tile=st.integers(3, 40), dtype=st.sampled_from(["B", "H"]))
def test_tiled_equals_untiled(height: int, width: int, tile: int, dtype: str) -> None:
    torch.manual_seed(0)
    engine = DoubleEngine(Network(EDSR(1, 4, 2), facts(1, 4, 2)))
    image = noise(height, width, dtype=np.dtype(dtype).type)
    np.testing.assert_array_equal(upscale_array(engine, image, tile), upscale_array(engine, image, 1000))


def test_progress_after_each_tile(double: DoubleEngine) -> None:
    seen: list[tuple[int, int]] = []
    list(upscale_rows(double, ArrayRows(noise(40, 60)), 11, lambda done, total: seen.append((done, total))))
    done = [pixels for pixels, _ in seen]
    assert len(seen) == len(double.shapes) == 15
    assert done == sorted(set(done))
    assert (done[0], seen[-1]) == (16 * 16, (2400, 2400))


def test_tiles_that_overlap_less_would_show() -> None:
    engine = DoubleEngine(Network(EDSR(1, 4, 2), facts(1, 4, 2)))
    engine.tiling = type(engine.tiling)(1, 1, 1000, exact=True)
    image = noise(40, 40)
    assert (upscale_array(engine, image, 10) != upscale_array(engine, image, 1000)).any()


@pytest.mark.parametrize("tile", [1, 5, 16])
def test_strided_network_tiles_exactly(tile: int) -> None:
    module = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
    engine = DoubleEngine(Network(module, Facts("custom", 1, 1.0, (), ())))
    image = noise(46, 50)
    np.testing.assert_array_equal(upscale_array(engine, image, tile), upscale_array(engine, image, 1000))


PUBLISHED = [
    "carn/carn_branch1_x4.pth",
    "edsr/edsr_r8f64_x2.pt",
    "edsr_like/rnet_r9f64_x4.pth",
    "rdn/rdn_idealo_D10C3G64_x2.pth",
    "span/team46_span_x4.pth",
    "srresnet/msrresnet_branch1_x4.pth",
    "srresnet/srresnet_bn_r16f64_x4_tanh.pth",
    "srresnet/srresnet_bn_r8f64_x4.pth",
    "srvgg_compact/realesr-animevideov3.pth",
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_tile_exactly(shared: Path, name: str) -> None:
    engine = TorchEngine(load_model(shared / "weights" / name))
    assert engine.tiling.exact
    image = np.ascontiguousarray(read_rgb(shared / "data" / "Set5" / "HR" / "butterfly.png")[100:112, :130])
    off = np.abs(upscale_array(engine, image, 20).astype(int) - upscale_array(engine, image, 1000))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001  # ties, which the order of sums decides


def test_all_tiles_have_one_shape(double: DoubleEngine) -> None:
    upscale_array(double, noise(61, 83), 16)
    assert len(double.shapes) > 10
    assert len(set(double.shapes)) == 1


def test_result_is_the_networks_rounded_half_to_even(engine: TorchEngine) -> None:
    image = noise(9, 11)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        expected = (engine.network(tensor)[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(upscale_array(engine, image), expected)


def test_gray_is_shown_as_rgb_and_averaged(double: DoubleEngine) -> None:
    gray = noise(12, 10, bands=1, dtype=np.uint16)
    colour = upscale_array(double, np.repeat(gray, 3, axis=2))
    upscaled = upscale_array(double, gray)
    assert upscaled.shape == (24, 20, 1)
    assert upscaled.dtype == np.uint16
    inner = (colour > 0).all(axis=2) & (colour < 65535).all(axis=2)
    np.testing.assert_allclose(upscaled[inner, 0], colour.mean(axis=2)[inner], atol=1)


class Starved(DoubleEngine):
    """Runs out of memory for more than ``limit`` pixels."""

    limit, error = 900, RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    def __call__(self, images: Images) -> Images:
        if images.shape[2] * images.shape[3] > self.limit:
            raise self.error
        return super().__call__(images)


def test_tile_is_halved_when_memory_runs_out(double: DoubleEngine) -> None:
    image = noise(70, 50)
    starved = Starved(Network(double.network.module, double.network.facts))
    np.testing.assert_array_equal(upscale_array(starved, image, 1000), upscale_array(double, image, 1000))


def test_memory_error_is_raised_when_no_tile_fits(double: DoubleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Starved, "limit", 3)
    with pytest.raises(RuntimeError, match="allocate"):
        upscale_array(Starved(double.network), noise(70, 50), 16)


def test_other_engine_errors_are_not_retried(double: DoubleEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Starved, "error", RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        upscale_array(Starved(double.network), noise(70, 50))


@pytest.mark.parametrize("architecture", ["rlfn", "rfdn"])
def test_pictures_too_small_for_the_network_are_extended(architecture: str) -> None:
    network = build(architecture, {})
    smallest, engine = network.facts.smallest, TorchEngine(network)
    with pytest.raises(RuntimeError, match="too small"):
        network(torch.zeros(1, 3, smallest - 1, smallest))
    image = np.full((smallest, smallest, 3), 90, np.uint8)
    image[:3, :5] = 180
    extended = np.pad(image[:3, :5], [(0, smallest - 3), (0, smallest - 5), (0, 0)], "edge")
    expected = upscale_tile(engine, extended)[: 3 * network.facts.scale, : 5 * network.facts.scale]
    np.testing.assert_array_equal(upscale_array(engine, image[:3, :5]), expected)


@pytest.mark.parametrize(("scale", "unshuffle"), [(2, 2), (1, 4)])
def test_pictures_of_any_size_for_a_network_that_unshuffles(scale: int, unshuffle: int) -> None:
    """Sizes are extended to multiples, also in tiles, which begin at multiples; those of x1 see far."""
    arguments = {"blocks": 1, "features": 4, "growth": 2, "scale": scale, "unshuffle": unshuffle}
    engine = DoubleEngine(build("rrdbnet", arguments).eval())
    image = noise(67, 63)
    extended = np.pad(image, [(0, -67 % unshuffle), (0, -63 % unshuffle), (0, 0)], "edge")
    expected = upscale_tile(engine, extended)[: 67 * scale, : 63 * scale]
    np.testing.assert_array_equal(upscale_tile(engine, image), expected)
    difference = np.abs(upscale_array(engine, image, 16).astype(int) - expected).max()
    assert difference == 0 if engine.tiling.exact else difference <= 1
    assert all(size % unshuffle == 0 for shape in engine.shapes for size in shape[2:])
