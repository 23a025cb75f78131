"""The three engines give the same picture, and missing or unknown ones are named."""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srquant.deploy.openvino.float_precision import has_bfloat16
from srquant.errors import EngineError, InputError
from srquant.models.network import Facts, Network
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.tiles.upscale_tiles import upscale_array

FAST = ["openvino", "onnxruntime"]


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("shape", [(1, 3, 24, 20), (2, 3, 1, 1), (1, 3, 7, 31)])
def test_engines_agree_with_torch(network: Network, name: str, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).random(shape, np.float32)
    engine = open_engine(name, network, threads=1)
    result = engine(images)
    assert engine.name == name
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, TorchEngine(network)(images), atol=1e-5)


@pytest.mark.parametrize("name", FAST)
def test_engines_tile_exactly(network: Network, name: str) -> None:
    engine = open_engine(name, network, threads=1)
    image = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
    whole, tiled = (upscale_array(engine, image, tile).astype(int) for tile in (100, 16))
    assert np.abs(whole - tiled).max() <= 1
    assert (whole != tiled).mean() < 0.001  # rounding ties


def test_results_outlive_the_next_call(network: Network) -> None:
    engine = open_engine("openvino", network, threads=1)
    black = engine(np.zeros((1, 3, 8, 8), np.float32))
    kept = black.copy()
    engine(np.ones((1, 3, 8, 8), np.float32))
    np.testing.assert_array_equal(black, kept)


def test_few_compiled_shapes_are_kept(network: Network) -> None:
    engine = OpenVINOEngine(network, threads=1)
    for side in (8, 9, 10, 8):
        engine(np.zeros((1, 3, side, side), np.float32))
    assert list(engine.session.compiled) == [(1, 3, 10, 10), (1, 3, 8, 8)]


def test_auto_is_openvino(network: Network) -> None:
    assert open_engine("auto", network).name == "openvino"


def test_auto_goes_on_without_openvino(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "srquant.deploy.openvino.session", raising=False)
    assert open_engine("auto", network).name == "onnxruntime"
    with pytest.raises(EngineError, match="can't be loaded"):
        open_engine("openvino", network)


class Bessel(nn.Module):
    """Nothing that any engine but PyTorch knows."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.special.i1e(images)


def test_auto_ends_with_torch() -> None:
    network = Network(Bessel(), Facts("custom", 1, 1.0, (), ()))
    with pytest.raises(EngineError):
        open_engine("openvino", network)
    assert open_engine("auto", network).name == "torch"


def test_unknown_engine(network: Network) -> None:
    with pytest.raises(InputError, match="did you mean 'openvino'"):
        open_engine("openvin", network)


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("name", ["auto", "openvino"])
def test_what_is_not_quantized_in_bfloat16(network: Network, name: str) -> None:
    images = np.random.default_rng(0).random((1, 3, 24, 20), np.float32)
    engine, exact = (open_engine(name, network, 1, float_precision=precision) for precision in ("bf16", "f32"))
    difference = np.abs(engine(images) - exact(images))
    assert (engine.name, exact.name) == ("openvino bfloat16", "openvino")
    assert 1e-5 < difference.max() < 0.05
    assert engine.fingerprint() != exact.fingerprint()
    assert engine.float_layers() == exact.float_layers()


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
def test_other_engines_have_no_float_precision(network: Network, name: str) -> None:
    with pytest.raises(
        InputError, match=f"--float-precision bf16: only engine openvino on the CPU knows it, not {name}"
    ):
        open_engine(name, network, float_precision="bf16")
