"""Networks with a tanh or idealo's upsampler at the end: quantized, saved, loaded, and exported to both formats."""

import onnxruntime
import openvino
import pytest
import torch

from srquant.deploy.file.save_load import load, save
from srquant.deploy.onnx.model import save_onnx, to_onnx
from srquant.deploy.openvino.float_precision import cpu_options
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.load import build
from srquant.quantizers.module_spec import LayerSpec

VARIANTS = {
    "srresnet with tanh": (
        "srresnet",
        {"blocks": 1, "features": 16, "scale": 2, "slopes": 16, "bias": True, "tanh": True},
    ),
    "rdn of idealo": (
        "rdn",
        {"blocks": 2, "layers": 2, "growth": 8, "features": 16, "scale": 2, "idealo": True},
    ),
}
POLICIES = {"w4a4": Policy(LayerBits(4, 4)), "w2a3 skip8": Policy(LayerBits(2, 3), skip_bits=8)}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def network(request):
    return build(*request.param)


@pytest.fixture(params=POLICIES.values(), ids=POLICIES)
def model(request, network, freeze_by_policy):
    return freeze_by_policy(network, request.param)


@pytest.fixture
def images() -> torch.Tensor:
    """Two pictures of which no engine rounds a value behind a PReLU to the other side; others change by whole codes."""
    return torch.rand(2, 3, 17, 19, generator=torch.Generator().manual_seed(1))


def openvino_picture(path, images: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(openvino.compile_model(path, "CPU", cpu_options())([images.numpy()])[0])


def onnx_picture(path, images: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["output"], {"input": images.numpy()})[0])


def assert_agree(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """A code that rounds the other way changes its surroundings, here a sixth of the small picture."""
    difference = (actual - expected).abs()
    assert (difference > 1e-5).float().mean() < 0.25
    assert difference.max() < 2 / 255


def test_float_pictures(network, images, tmp_path):
    save_openvino(to_openvino(network), tmp_path / "net.xml")
    save_onnx(to_onnx(network), tmp_path / "net.onnx")
    with torch.no_grad():
        expected = network(images)
    for picture in (openvino_picture(tmp_path / "net.xml", images), onnx_picture(tmp_path / "net.onnx", images)):
        torch.testing.assert_close(picture, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_file_and_engines_give_one_picture(model, images, tmp_path):
    save(model, tmp_path / "net.safetensors")
    loaded = load(tmp_path / "net.safetensors")
    expected = model.network(images)
    assert loaded.network.facts == model.network.facts
    assert torch.equal(loaded.network(images), expected)
    save_openvino(to_openvino(loaded.network, pair_saturation=False), tmp_path / "net.xml")
    save_onnx(to_onnx(loaded.network, pair_saturation=False), tmp_path / "net.onnx")
    assert_agree(openvino_picture(tmp_path / "net.xml", images), expected)
    assert_agree(onnx_picture(tmp_path / "net.onnx", images), expected)


def test_every_convolution_runs_as_int8(model):
    precisions = layer_precisions(to_openvino(model.network, pair_saturation=False))
    assert {layer.precision for layer in precisions} == {"int8"}
    assert len(precisions) == sum(isinstance(spec, LayerSpec) for spec in model.specs.values())
