"""Results on CUDA and on the CPU, where there is a CUDA device."""

import copy

import numpy as np
import pytest
import torch

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.models.load import build
from srquant.upscale.engines.torch_engine import TorchEngine

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")

SETTINGS = {
    "percentile": ["finetune=together"],
    "mse": ["rounding=gptq"],
    "ptq4sr": ["iterations=4"],
    "adabm": ["epochs=3"],
    "2dquant": ["iterations=4", "batch=2"],
    "outlier-aware": ["epochs=3"],
    "gba": ["epochs=1"],
    "distill": ["steps=8"],
}
MOST_DIFFERENT = 1 / 255
"""Mean difference of two pictures in [0, 1]; learning sums in another order on CUDA."""


@pytest.fixture
def network():
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture(scope="session")
def pictures(smooth_pictures):
    return CalibrationSet(smooth_pictures(4, 40, 40), count=4, seed=0, patch=32)


@pytest.mark.parametrize("name", METHODS)
def test_methods_agree(network, pictures, name):
    method = METHODS[name]
    config = configure(method.config, SETTINGS.get(name, []))
    images = next(pictures.batches(4)).numpy()
    results = []
    for device in ("cpu", "cuda"):
        model = method.quantize(copy.deepcopy(network).to(device), pictures, Policy(LayerBits(4, 4)), config)
        results.append(TorchEngine(freeze(model).network)(images))
    assert np.abs(results[0] - results[1]).mean() < MOST_DIFFERENT


@pytest.mark.parametrize("features", [8, 64])
def test_frozen_networks_give_the_same_picture(pictures, features):
    network = build("edsr", {"blocks": 2, "features": features}).eval()
    method = METHODS["mse"]
    frozen = freeze(method.quantize(network, pictures, Policy(LayerBits(8, 8)), method.config())).network
    images = next(pictures.batches(4)).numpy()
    expected = TorchEngine(copy.deepcopy(frozen))(images)
    np.testing.assert_array_equal(TorchEngine(frozen.to("cuda"))(images), expected)


@pytest.mark.parametrize(("precision", "most"), [("32", 1e-5), ("16", 2e-3), ("auto", 2e-3), ("bf16", 2e-2)])
def test_float_networks_agree(network, pictures, precision, most):
    images = next(pictures.batches(4)).numpy()
    expected = TorchEngine(copy.deepcopy(network))(images)
    found = TorchEngine(network.to("cuda"), precision)(images)
    assert np.abs(found - expected).max() < most
