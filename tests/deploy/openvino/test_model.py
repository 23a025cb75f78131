import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from srquant.deploy.frozen.channels import ChannelScaling
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.onnx.model import to_onnx
from srquant.deploy.openvino.float_precision import cpu_options
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.errors import EngineError, OutputError
from srquant.models.blocks.layers import mean_shift
from srquant.models.load import build
from srquant.models.network import Facts, Network

CUSTOM = Facts("custom", 1, 1.0, (), ())

SMALL = {
    "edsr": {"blocks": 1, "features": 16, "scale": 4},
    "srresnet": {"blocks": 1, "features": 16, "scale": 2, "batch_norm": False},
    "msrresnet": {"blocks": 1, "features": 16, "scale": 2},
    "rdn": {"blocks": 1, "layers": 2, "growth": 8, "features": 16, "scale": 3},
    "carn": {"features": 16, "scale": 2, "groups": 4, "shared": True},
    "rlfn": {"blocks": 1, "features": 16},
    "rfdn": {"blocks": 1, "features": 16},
    "span": {"blocks": 1, "features": 16},
    "compact": {"convolutions": 3, "features": 16},
    "rrdbnet": {"blocks": 1, "features": 16, "growth": 8},
}


def run(network: Network, images: torch.Tensor, pair_saturation: bool = False) -> torch.Tensor:
    return compute(to_openvino(network, pair_saturation), images)


def compute(model: openvino.Model, images: torch.Tensor) -> torch.Tensor:
    compiled = openvino.compile_model(model, "CPU", cpu_options())
    return torch.from_numpy(compiled([images.numpy()])[0])


@pytest.mark.parametrize("architecture", SMALL)
def test_float_network_gives_the_same_picture(architecture):
    network = build(architecture, SMALL[architecture]).eval()
    images = torch.rand(2, 3, 17, 19)
    with torch.no_grad():
        torch.testing.assert_close(run(network, images), network(images), rtol=0, atol=2e-6)


def test_network_that_unshuffles_gives_the_same_picture():
    network = build("rrdbnet", {"blocks": 1, "features": 8, "growth": 4, "scale": 2, "unshuffle": 2}).eval()
    images = torch.rand(2, 3, 18, 22)
    with torch.no_grad():
        torch.testing.assert_close(run(network, images), network(images), rtol=0, atol=2e-6)


@pytest.mark.parametrize("pair_saturation", [False, True], ids=["vnni", "no vnni"])
def test_convolutions_of_all_bits_bounds_and_groups_are_the_same(parallel_convs, pair_saturation):
    network = Network(parallel_convs, CUSTOM)
    images = parallel_convs.images(9, 11, torch.Generator().manual_seed(2))
    expected = network(images)
    torch.testing.assert_close(run(network, images, pair_saturation), expected, rtol=1e-5, atol=1e-5)


def test_convolutions_of_all_bits_run_as_int8(parallel_convs):
    precisions = layer_precisions(to_openvino(Network(parallel_convs, CUSTOM), pair_saturation=False))
    assert [p.name for p in precisions] == [f"convs.{i}" for i in range(14)]
    assert {p.precision for p in precisions} == {"int8"}


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize("skip", [False, True], ids=["float skip", "8-bit skip"])
def test_every_convolution_of_a_frozen_network_runs_as_int8(freeze_directly, architecture, skip):
    network = freeze_directly(build(architecture, SMALL[architecture]), 4, 4, skip)
    images = torch.rand(1, 3, 17, 19)
    model = to_openvino(network, pair_saturation=False)
    assert {p.precision for p in layer_precisions(model)} == {"int8"}
    difference = (compute(model, images) - network(images)).abs()
    assert (difference > 1e-5).float().mean() < 0.05  # a code that rounds the other way changes its surroundings


@pytest.mark.parametrize("size", [(1, 1), (3, 5)], ids=str)
def test_tiny_pictures(freeze_directly, size):
    network = freeze_directly(build("edsr", SMALL["edsr"]), 8, 8, True)
    images = torch.rand(3, 3, *size)
    upscaled = run(network, images)
    assert upscaled.shape == (3, 3, 4 * size[0], 4 * size[1])
    assert (upscaled - network(images)).abs().max() < 0.01


def test_names_and_dynamic_shape():
    model = to_openvino(build("edsr", SMALL["edsr"]))
    assert model.input("image").partial_shape == openvino.PartialShape([-1, 3, -1, -1])
    assert model.output("upscaled").partial_shape[1] == openvino.Dimension(3)


def test_saved_model_computes_the_same(tmp_path, freeze_directly):
    network = freeze_directly(build("edsr", SMALL["edsr"]), 4, 4)
    images = torch.rand(1, 3, 6, 7)
    model = to_openvino(network, False)
    save_openvino(model, tmp_path / "model.xml")
    loaded = openvino.compile_model(tmp_path / "model.xml", "CPU", cpu_options())
    np.testing.assert_array_equal(loaded([images.numpy()])[0], compute(model, images).numpy())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.bin", "model.xml"]


def test_unwritable_place_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"missing.model\.xml"):
        save_openvino(to_openvino(build("edsr", SMALL["edsr"])), tmp_path / "missing" / "model.xml")


def test_a_failed_write_leaves_the_earlier_pair(tmp_path, monkeypatch):
    def fail(model, path, **options):
        for suffix in (".xml", ".bin"):
            path.with_suffix(suffix).write_text("half")
        raise RuntimeError("No space left on device")

    for name in ("model.xml", "model.bin"):
        (tmp_path / name).write_text("old")
    monkeypatch.setattr(openvino, "save_model", fail)
    with pytest.raises(OutputError, match="No space left"):
        save_openvino(to_openvino(build("edsr", SMALL["edsr"])), tmp_path / "model.xml")
    assert sorted((p.name, p.read_text()) for p in tmp_path.iterdir()) == [("model.bin", "old"), ("model.xml", "old")]


def test_layer_without_a_form_is_named():
    network = Network(nn.Sequential(nn.Conv2d(3, 3, 3), _Bessel()), CUSTOM)
    with pytest.raises(EngineError, match=r"special_i1e.* in layer '1' at .*test_model.py:\d+ has.*engine 'torch'"):
        to_openvino(network)


def test_network_that_depends_on_the_picture_is_refused():
    network = Network(_Branching(), CUSTOM)
    with pytest.raises(EngineError, match=r"custom can't be exported.*test_model.py:\d+ .*engine 'torch'"):
        to_openvino(network)


class _Bessel(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.special.i1e(images)


class _Branching(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if images.mean() > 0 else -images


@pytest.mark.parametrize("pair_saturation", [False, True], ids=["vnni", "no vnni"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_colour_shift_before_the_first_convolution_keeps_its_channels(freeze_directly, bits, pair_saturation):
    module = nn.Sequential(mean_shift(1.0, -1), nn.Conv2d(3, 8, 3, padding=1))
    network = freeze_directly(Network(module, CUSTOM), bits, bits)
    images = torch.rand(1, 3, 15, 17)
    difference = (run(network, images, pair_saturation) - network(images)).abs()
    assert (difference > 1e-5).float().mean() < 0.01


@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize("engine", [run, lambda n, i: run_onnx(to_onnx(n), i)], ids=["openvino", "onnxruntime"])
def test_channels_with_grids_of_their_own(padding, engine):
    conv = random_conv(3)
    conv.before = ChannelScaling(
        torch.tensor([-0.5, 0.1, 0.3]).view(3, 1, 1), torch.tensor([0.02, 0.01, 0.03]).view(3, 1, 1), padding
    )
    images = torch.rand(1, 3, 15, 17)
    network = Network(nn.Sequential(conv), CUSTOM)
    difference = (engine(network, images) - network(images)).abs()
    assert (difference > 1e-4).float().mean() < 0.01


TOKENS = {
    2: lambda pixels: pixels.flatten(0, 2),
    3: lambda pixels: pixels.flatten(1, 2),
    4: lambda pixels: pixels,
    5: lambda pixels: pixels.unsqueeze(0),
}
"""By number of axes: pixels ``N x H x W x C`` as tokens ``... x C``."""


def linear_with_grids() -> FrozenLinear:
    scaling = ChannelScaling(torch.tensor([-1.5, -1.0, -0.7]), torch.tensor([0.02, 0.01, 0.03]), (0, 0))
    grid = FrozenGrid(torch.tensor(0.0), torch.tensor(255.0), 256)
    weight = torch.randint(-127, 128, (3, 3), dtype=torch.int8)
    return FrozenLinear(grid, weight, torch.rand(3) * 1e-4, torch.randn(3) * 0.1, 8, scaling)


class OnTokens(nn.Module):
    """Linear layers whose input channels have grids of their own: behind a norm, and one behind the other."""

    def __init__(self, axes: int, read_twice: bool) -> None:
        super().__init__()
        self.first, self.second = linear_with_grids(), linear_with_grids()
        self.norm, self.tokens, self.read_twice = nn.LayerNorm(3), TOKENS[axes], read_twice

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.permute(0, 2, 3, 1)
        between = self.first(self.tokens(self.norm(pixels)))
        last = self.second(between) + between if self.read_twice else self.second(between)
        return last.reshape(pixels.shape).permute(0, 3, 1, 2)


@pytest.mark.parametrize("axes", TOKENS)
@pytest.mark.parametrize("read_twice", [False, True])
@pytest.mark.parametrize("engine", [run, lambda n, i: run_onnx(to_onnx(n), i)], ids=["openvino", "onnxruntime"])
def test_channels_of_tokens_with_grids_of_their_own(axes, read_twice, engine):
    network, images = Network(OnTokens(axes, read_twice), CUSTOM), torch.rand(1, 3, 16, 16)
    difference = (engine(network, images) - network(images)).abs()
    assert (difference > 1e-4).float().mean() < 0.05


def random_conv(channels: int) -> FrozenConv2d:
    weight = torch.randint(-127, 128, (8, channels, 3, 3), dtype=torch.int8)
    grid = FrozenGrid(torch.tensor(0.0), torch.tensor(63.0), 64)
    return FrozenConv2d(grid, weight, torch.rand(8) * 1e-3, torch.randn(8), (1, 1), (0, 0), (1, 1), 1, 8)


def run_onnx(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["output"], {"input": images.numpy()})[0])
