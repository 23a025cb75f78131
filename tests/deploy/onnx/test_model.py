from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from srquant.deploy.onnx.model import OPSET, save_onnx, to_onnx
from srquant.deploy.onnx.precision import layer_precisions, optimized
from srquant.errors import OutputError
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.load import build
from srquant.models.network import Facts, Network

CUSTOM = Facts("custom", 1, 1.0, (), ())
EDSR = {"blocks": 1, "features": 16, "scale": 4}
SMALL = {
    "edsr": EDSR,
    "carn": {"features": 16, "scale": 2, "groups": 4, "shared": True},
    "rlfn": {"blocks": 1, "features": 16},
    "rfdn": {"blocks": 1, "features": 16},
    "srresnet": {"blocks": 1, "features": 16, "scale": 2},
    "compact": {"convolutions": 3, "features": 16},
    "rrdbnet": {"blocks": 1, "features": 16, "growth": 8},
}


def run(model: onnx.ModelProto, images: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(["output"], {"input": images.numpy()})[0])


@pytest.mark.parametrize("architecture", SMALL)
def test_float_network_gives_the_same_picture(architecture):
    network = build(architecture, SMALL[architecture]).eval()
    images = torch.rand(2, 3, 17, 19)
    with torch.no_grad():
        torch.testing.assert_close(run(to_onnx(network), images), network(images), rtol=0, atol=2e-6)


def test_network_that_unshuffles_gives_the_same_picture():
    network = build("rrdbnet", {"blocks": 1, "features": 8, "growth": 4, "scale": 2, "unshuffle": 2}).eval()
    images = torch.rand(2, 3, 18, 22)
    with torch.no_grad():
        torch.testing.assert_close(run(to_onnx(network), images), network(images), rtol=0, atol=2e-6)


@pytest.mark.parametrize("pair_saturation", [False, True], ids=["vnni", "no vnni"])
def test_convolutions_of_all_bits_bounds_and_groups_are_the_same(parallel_convs, pair_saturation):
    network = Network(parallel_convs, CUSTOM)
    images = parallel_convs.images(9, 11, torch.Generator().manual_seed(2))
    torch.testing.assert_close(run(to_onnx(network, pair_saturation), images), network(images), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("skip", [False, True], ids=["float skip", "8-bit skip"])
def test_frozen_network_gives_the_same_picture(freeze_directly, bits, skip):
    network = freeze_directly(build("edsr", EDSR), bits, bits, skip)
    images = torch.rand(1, 3, 24, 26)
    expected, upscaled = (x.clamp(0, 1).mul(255).round() for x in (network(images), run(to_onnx(network), images)))
    assert (expected - upscaled).abs().max() <= 1
    assert (expected == upscaled).float().mean() >= 0.999


@pytest.mark.parametrize(
    ("policy", "joined"),
    [
        (Policy(LayerBits(4, 4)), 3),
        (Policy(LayerBits(8, 8), skip_bits=8), 3),
        (Policy(LayerBits(6, 6), granularity="channel", activation_granularity="channel"), 1),
    ],
    ids=["w4a4", "w8a8 skip8", "w6a6 channels"],
)
def test_no_convolution_is_float_in_what_onnx_runtime_runs(freeze_by_policy, policy, joined):
    network = freeze_by_policy(build("edsr", EDSR), policy).network
    model, images = to_onnx(network, pair_saturation=False), torch.rand(2, 3, 24, 26)
    kinds = Counter(node.op_type for node in optimized(model).graph.node)
    assert kinds["Conv"] + kinds["FusedConv"] + kinds["Gemm"] + kinds["MatMul"] == 0
    assert kinds["QLinearConv"] == joined
    assert kinds["QLinearConv"] + kinds["QGemm"] + kinds["MatMulInteger"] == 7
    assert {layer.precision for layer in layer_precisions(model)} == {"int8"}
    torch.testing.assert_close(run(model, images), network(images), rtol=0, atol=2e-7)


def test_names_and_sizes():
    graph = to_onnx(build("edsr", EDSR)).graph
    for value, name in ((graph.input[0], "input"), (graph.output[0], "output")):
        batch, channels, height, width = value.type.tensor_type.shape.dim
        assert (value.name, channels.dim_value) == (name, 3)
        assert all(size.dim_param for size in (batch, height, width))


def test_activations_and_weights_are_bytes(freeze_directly):
    model = to_onnx(freeze_directly(build("edsr", EDSR), 4, 4), pair_saturation=False)
    stored = {c.name: c for c in model.graph.initializer}
    stored |= {n.output[0]: n.attribute[0].t for n in model.graph.node if n.op_type == "Constant"}
    constants = {name: onnx.numpy_helper.to_array(tensor) for name, tensor in stored.items()}
    quantizers = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert {constants[n.input[2]].dtype for n in quantizers} == {np.dtype(np.uint8)}
    assert sum(n.op_type == "Clip" for n in model.graph.node) == len(quantizers)
    weights = [c for c in constants.values() if c.ndim in (2, 4) and c.size > 100]
    assert {w.dtype for w in weights} == {np.dtype(np.int8)}
    assert model.opset_import[0].version == OPSET


def test_saved_model_is_the_same_and_unwritable_place_is_named(tmp_path):
    model = to_onnx(build("edsr", EDSR))
    save_onnx(model, tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx") == model
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    with pytest.raises(OutputError, match=r"missing.model\.onnx"):
        save_onnx(model, tmp_path / "missing" / "model.onnx")
