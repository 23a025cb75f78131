"""Whole networks on real pictures: fake-quantized, frozen, and the three engines give one picture."""

from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.data.images import read_rgb
from srquant.deploy.export.pair_saturation import has_vnni
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.measure.quality.metrics import psnr_y
from srquant.measure.quality.scores import evaluate
from srquant.methods.registry import METHODS
from srquant.models.load import build, load_model
from srquant.models.network import Network
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.tiles.upscale_tiles import upscale_tile

W2, W3, W4, W6, W8 = (LayerBits(bits, bits) for bits in (2, 3, 4, 6, 8))
SAME_VALUE = 1e-4
"""Of the value range."""
SAME_PSNR = 1e-3
"""Decibels."""

POLICIES = {
    "w4a4": Policy(W4),
    "w8a8 skip8": Policy(W8, skip_bits=8),
    "w2a3 channels": Policy(LayerBits(2, 3), granularity="channel", activation_granularity="channel"),
}
WEIGHTS = {
    "edsr": "edsr/edsr_r8f64_x2.pt",
    "carn": "carn/carn_x2_only.pth",
    "rnet": "edsr_like/rnet_r9f64_x4.pth",
    "rdn": None,
    "msrresnet": "srresnet/msrresnet_branch1_x4.pth",
    "srresnet": "srresnet/srresnet_bn_r8f64_x4.pth",
    "srresnet with tanh": "srresnet/srresnet_bn_r16f64_x4_tanh.pth",
    "rdn of idealo": "rdn/rdn_idealo_D10C3G64_x2.pth",
}


@pytest.fixture(scope="module")
def pictures(shared: Path) -> Path:
    return shared / "data" / "Set5" / "LR_bicubic" / "X2"


@pytest.fixture(scope="module")
def networks(shared: Path):
    @cache
    def network(name: str) -> Network:
        if name == "rdn":
            torch.manual_seed(0)
            return build("rdn", {"blocks": 2, "layers": 3, "growth": 16, "features": 32, "scale": 2})
        return load_model(shared / "weights" / name)

    return network


@pytest.fixture(scope="module")
def quantize(networks, pictures: Path):
    @cache
    def quantized(name: str, policy: Policy, method: str = "minmax") -> QuantizedModel:
        return METHODS[method].quantize(
            networks(name), CalibrationSet(pictures, 5, patch=48), policy, METHODS[method].config()
        )

    return quantized


def crop(pictures: Path, side: int) -> torch.Tensor:
    pixels = np.ascontiguousarray(read_rgb(pictures / "butterflyx2.png")[40 : 40 + side, 40 : 40 + side])
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).float() / 255


def grey_levels(images: torch.Tensor | NDArray[np.float32]) -> NDArray[np.uint8]:
    values = np.clip(np.asarray(images)[0].transpose(1, 2, 0), 0, 1)
    return np.rint(values * 255).astype(np.uint8)


def psnr_difference(a: torch.Tensor, b: torch.Tensor, float_network: Network, images: torch.Tensor) -> float:
    """Difference of their Y-PSNR against what the float network makes."""
    reference = grey_levels(float_network(images))
    return abs(psnr_y(grey_levels(a), reference, 4) - psnr_y(grey_levels(b), reference, 4))


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("name", WEIGHTS)
@torch.no_grad()
def test_frozen_networks_give_the_same_values(networks, quantize, pictures, name, policy):
    """No rounding tie goes the other way, not even in networks with slopes that leave the lattice."""
    key, images = WEIGHTS[name] or name, crop(pictures, 32 if name.startswith(("srresnet", "rdn of")) else 64)
    model = quantize(key, policy)
    expected, actual = model.network(images), freeze(model).network(images)
    assert float((actual - expected).abs().max()) <= SAME_VALUE
    assert psnr_difference(actual, expected, networks(key), images) <= SAME_PSNR


PSNR_PICTURES = ("bird", "butterfly")

ENGINE_CASES = {
    "edsr w2a2": ("edsr", Policy(W2), "minmax"),
    "edsr w4a4": ("edsr", Policy(W4), "minmax"),
    "edsr w8a8": ("edsr", Policy(W8), "minmax"),
    "edsr w8a8 skip8": ("edsr", Policy(W8, skip_bits=8), "minmax"),
    "edsr channels": ("edsr", Policy(W4, granularity="channel", activation_granularity="channel"), "tails"),
    "carn w4a4": ("carn", Policy(W4), "minmax"),
    "rdn of idealo w4a4": ("rdn of idealo", Policy(W4), "minmax"),
}


@pytest.mark.parametrize("engine", [OpenVINOEngine, OnnxRuntimeEngine], ids=["openvino", "onnxruntime"])
@pytest.mark.parametrize(("name", "policy", "method"), ENGINE_CASES.values(), ids=ENGINE_CASES)
def test_engines_give_the_same_picture(quantize, pictures, name, policy, method, engine):
    frozen, images = freeze(quantize(WEIGHTS[name], policy, method)), crop(pictures, 64).numpy()
    expected = grey_levels(TorchEngine(frozen.network)(images)).astype(int)
    difference = np.abs(grey_levels(engine(frozen.network, threads=1)(images)) - expected)
    print(f"{(difference > 0).mean():.4%} of the pixels differ, by at most {difference.max()}")
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 1e-3


PUBLISHED = {"srresnet with tanh": 32.01, "rdn of idealo": 36.65}
"""Y-PSNR on Set5."""


@pytest.mark.parametrize(("name", "expected"), PUBLISHED.items(), ids=PUBLISHED)
def test_openvino_has_the_float_psnr(networks, shared, name, expected):
    network = networks(WEIGHTS[name])
    data = BenchmarkSet(shared / "data" / "Set5", network.facts.scale)
    report = evaluate(partial(upscale_tile, OpenVINOEngine(network)), data, "openvino")
    assert report.psnr_y == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("bits", [W2, W3, W4, W6, W8], ids=lambda bits: f"w{bits.weight}a{bits.activation}")
def test_openvino_and_torch_have_one_psnr(quantize, shared, bits):
    frozen = freeze(quantize(WEIGHTS["edsr"], Policy(bits)))
    engines = TorchEngine(frozen.network), OpenVINOEngine(frozen.network)
    for sample in (s for s in BenchmarkSet(shared / "data" / "Set5", 2) if s.name in PSNR_PICTURES):
        images = sample.low.transpose(2, 0, 1)[None].astype(np.float32) / 255
        torch_psnr, openvino_psnr = (psnr_y(grey_levels(engine(images)), sample.high, 2) for engine in engines)
        assert abs(torch_psnr - openvino_psnr) < 1e-4  # measured on all of Set5: 3e-5, a pixel or two


@pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI")
@pytest.mark.parametrize("bits", [W2, W4, W8], ids=lambda bits: f"w{bits.weight}a{bits.activation}")
def test_every_convolution_runs_as_int8(quantize, bits):
    frozen: FrozenModel = freeze(quantize(WEIGHTS["edsr"], Policy(bits)))
    precisions = [layer.precision for layer in layer_precisions(to_openvino(frozen.network))]
    assert precisions.count("int8") == len(frozen.specs) >= 17
