"""Files for TensorRT: their form by what NVIDIA documents, their numbers in ONNX Runtime. TensorRT itself isn't run."""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.deploy.onnx.session import Session
from srquant.deploy.tensorrt.known_operators import NAMES
from srquant.deploy.tensorrt.model import layer_precisions, to_tensorrt
from srquant.errors import EngineError
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.load import build
from srquant.models.network import Facts, Network
from srquant.models.wrap import wrap

CUSTOM = Facts("custom", 1, 1.0, (), ())
EDSR = {"blocks": 1, "features": 16, "scale": 4}
POLICIES = {
    "w4a4": Policy(LayerBits(4, 4)),
    "w8a7 skip8": Policy(LayerBits(8, 7), skip_bits=8),
    "w8a8 skip8": Policy(LayerBits(8, 8), skip_bits=8),
    "w6a8 channels": Policy(LayerBits(6, 8), granularity="channel", activation_granularity="channel"),
}
EDSR_POLICIES = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


class Form:
    """A model whose nodes and constants can be looked up."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.nodes = model, list(model.graph.node)
        self.constants = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
        self.makers = {name: node for node in self.nodes for name in node.output}

    def of(self, *kinds: str) -> Iterator[onnx.NodeProto]:
        return (node for node in self.nodes if node.op_type in kinds)

    def readers(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        return [reader for reader in self.nodes if node.output[0] in reader.input]

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray:
        return self.constants[node.input[index]]

    def is_pair(self, name: str) -> bool:
        """Whether a value comes from QuantizeLinear and DequantizeLinear of one scale."""
        last = self.makers.get(name)
        if last is None or last.op_type != "DequantizeLinear" or last.input[0] not in self.makers:
            return False
        first = self.makers[last.input[0]]
        return first.op_type == "QuantizeLinear" and self.constant(first, 1) == self.constant(last, 1)

    def is_weight(self, name: str) -> bool:
        """Whether a value comes from constant bytes with a scale per output channel."""
        node = self.makers.get(name)
        if node is None or node.op_type != "DequantizeLinear" or node.input[0] not in self.constants:
            return False
        weight, (axis,) = self.constant(node, 0), [given.i for given in node.attribute]
        return weight.dtype == np.int8 and self.constant(node, 1).shape == (weight.shape[axis],)


def check_form(form: Form) -> None:
    """The rules that hold for every file."""
    assert {node.op_type for node in form.nodes} <= set(NAMES.split())
    assert form.model.opset_import[0].version >= 17
    for node in form.of("QuantizeLinear", "DequantizeLinear"):
        zero_points = form.constant(node, 2)
        assert zero_points.dtype == np.int8
        assert not zero_points.any()
        assert (form.constant(node, 1) > 0).all()
    for node in form.of("QuantizeLinear"):
        assert form.constant(node, 1).shape == (), "grids of activations are per tensor"
        assert {reader.op_type for reader in form.readers(node)} == {"DequantizeLinear"}
        assert form.is_pair(form.readers(node)[0].output[0])
    for value in (*form.model.graph.input, *form.model.graph.output, *form.model.graph.value_info):
        assert all(size.HasField("dim_value") for size in value.type.tensor_type.shape.dim)


def run(model: onnx.ModelProto, images: torch.Tensor, joins: bool = True) -> torch.Tensor:
    return torch.from_numpy(Session(model.SerializeToString(), 1, joins)(images.numpy()))


def check_same_picture(network: Network, side: int, model: onnx.ModelProto, joins: bool = True) -> None:
    images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, upscaled = (x.clamp(0, 1).mul(255).round() for x in (network(images), run(model, images, joins)))
    assert (expected - upscaled).abs().max() <= 1
    assert (expected == upscaled).float().mean() >= 0.999


@EDSR_POLICIES
def test_every_convolution_has_quantized_operands_and_the_picture_is_the_same(freeze_by_policy, policy):
    network = freeze_by_policy(build("edsr", EDSR), policy).network
    model = to_tensorrt(network, 24, 24)
    form = Form(model)
    check_form(form)
    convs = list(form.of("Conv"))
    assert len(convs) == 7
    for conv in convs:
        assert form.is_pair(conv.input[0])
        assert form.is_weight(conv.input[1])
        assert form.constant(conv, 2).dtype == np.float32
    layers = layer_precisions(model)
    assert {layer.precision for layer in layers} == {"int8"}
    assert layers[0].name == "head.0"
    check_same_picture(network, 24, model)


def test_residual_sums_add_quantized_values(freeze_by_policy):
    network = freeze_by_policy(build("edsr", EDSR | {"blocks": 2}), POLICIES["w8a8 skip8"]).network
    form = Form(to_tensorrt(network, 16, 16))
    sums = [add for add in form.of("Add") if any(name in form.makers and form.is_pair(name) for name in add.input)]
    assert len(sums) == 1, "of the second block; the other two start in float"
    (other,) = [name for name in sums[0].input if not form.is_pair(name)]
    assert form.makers[other].op_type == "Conv", "nothing stands between"
    assert any(reader.op_type in ("Sub", "QuantizeLinear") for reader in form.readers(sums[0]))


def test_only_grids_of_eight_bits_need_padding_of_their_own(freeze_by_policy):
    network = freeze_by_policy(build("edsr", EDSR), Policy(LayerBits(8, 7), LayerBits(8, 7), LayerBits(8, 7))).network
    form = Form(to_tensorrt(network, 16, 16))
    assert list(form.of("Pad")) == []
    assert all(form.makers[node.input[0]].op_type == "Clip" for node in form.of("QuantizeLinear"))


@pytest.mark.parametrize(("bits", "skip"), [(2, False), (8, True)])
def test_biases_that_are_not_settled(freeze_directly, bits, skip):
    network = freeze_directly(build("edsr", EDSR), bits, bits, skip)
    model = to_tensorrt(network, 24, 24)
    check_form(Form(model))
    check_same_picture(network, 24, model, joins=False)


@pytest.mark.parametrize("parallel_convs", [(3, 2, 2, 2)], indirect=True, ids=["strided and dilated"])
def test_convolutions_of_all_bits_bounds_and_groups_are_the_same(parallel_convs):
    images = parallel_convs.images(9, 11, torch.Generator().manual_seed(2))[:1]
    model = to_tensorrt(Network(parallel_convs, CUSTOM), 9, 11)
    check_form(Form(model))
    torch.testing.assert_close(run(model, images), parallel_convs(images), rtol=1e-5, atol=1e-5)


class Product(nn.Module):
    """Each channel times itself, transposed: grids of 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        bounds = [(-0.1, 1.0), (0.05, 0.9)]
        grids = [FrozenGrid(torch.tensor(lower), torch.tensor(upper), 256) for lower, upper in bounds]
        self.product = FrozenMatmul(*grids, None)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.product(images, images.transpose(2, 3))


def test_products_of_activations_have_quantized_operands():
    network = Network(Product(), CUSTOM)
    model = to_tensorrt(network, 8, 8)
    form = Form(model)
    check_form(form)
    (product,) = form.of("MatMul")
    assert all(map(form.is_pair, product.input))
    images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(run(model, images), network(images), rtol=0, atol=1e-5)


def test_float_layers_stay_float():
    network = build("edsr", EDSR).eval()
    model, images = to_tensorrt(network, 24, 32), torch.rand(1, 3, 24, 32)
    check_form(Form(model))
    assert {layer.precision for layer in layer_precisions(model)} == {"float32"}
    with torch.no_grad():
        torch.testing.assert_close(run(model, images), network(images), rtol=0, atol=2e-6)


def test_operators_that_tensorrt_does_not_know_are_named():
    network = wrap(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Upsample(scale_factor=2, mode="bicubic")), 2)
    with pytest.raises(
        EngineError, match=r"operator 'Resize cubic' of node .* has no form in TensorRT; export without"
    ):
        to_tensorrt(network, 16, 16)
