"""Quantized layers compute what the float layer computes on grid points."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from srquant.grids.uniform import fake_quantize
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.blocks.layers import Add, Matmul
from srquant.quantizers.base import ActivationQuantizer, InputQuantizer, WeightQuantizer
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import (
    QuantAdd,
    QuantAddends,
    QuantConv2d,
    QuantLinear,
    QuantMatmul,
    activation_quantizers,
    conv_padding,
    expand_to_weight,
    input_quantizers,
    learned_bound,
    precise,
    quant_layers,
    quantized_weight,
)


def weight_quantizer(weight: torch.Tensor, bits: int) -> WeightQuantizer:
    largest = weight.detach().flatten(1).abs().amax(1).view(-1, *[1] * (weight.dim() - 1))
    return WeightQuantizer(-largest, largest, bits, symmetric=True)


@settings(deadline=None, max_examples=60)
@given(
    weight_bits=st.integers(2, 8),
    activation_bits=st.integers(2, 8),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    padding=st.sampled_from([0, 1, 2]),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    lower=st.floats(-2, 1, width=32),
    width=st.floats(0.25, 4, width=32),
    seed=st.integers(0, 2**16),
)
def test_conv_is_the_float_conv_of_grid_points(
    weight_bits, activation_bits, kernel, stride, padding, dilation, groups, lower, width, seed
):
    torch.manual_seed(seed)
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups)
    bounds = torch.tensor(lower), torch.tensor(lower + width)
    quantized = QuantConv2d(
        layer, ActivationQuantizer(*bounds, activation_bits), weight_quantizer(layer.weight, weight_bits)
    )
    x = 2 * torch.randn(2, 4, 11, 10)
    plain = nn.Conv2d(4, 8, kernel, stride, 0, dilation, groups)
    plain.bias = layer.bias
    plain.weight = nn.Parameter(quantized.weight_quantizer(layer.weight))
    points = fake_quantize(F.pad(x, [padding] * 4), *bounds, 2**activation_bits)
    assert torch.equal(quantized(x), plain(points))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 8), st.integers(2, 8), st.lists(st.integers(1, 4), max_size=3), st.booleans())
def test_linear_is_the_float_layer_of_grid_points(weight_bits, activation_bits, shape, bias):
    layer = nn.Linear(5, 7, bias)
    bounds = torch.tensor(-0.7), torch.tensor(1.3)
    weight = weight_quantizer(layer.weight, weight_bits)
    quantized = QuantLinear(layer, ActivationQuantizer(*bounds, activation_bits), weight)
    x = torch.randn(*shape, 5)
    points = fake_quantize(x, *bounds, 2**activation_bits)
    assert torch.equal(quantized(x), F.linear(points, weight(layer.weight), layer.bias))


def test_zeros_are_padded_before_quantization():
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(layer.weight)
    activation = ActivationQuantizer(torch.tensor(0.5), torch.tensor(2.0), 2)
    quantized = QuantConv2d(layer, activation, WeightQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 8, True))
    assert quantized(torch.ones(1, 1, 1, 1)).item() == 8 * 0.5 + 1.0


def test_grid_points_and_integer_weights_pass_unchanged():
    layer = nn.Conv2d(3, 4, 3, padding=1)
    layer.weight.data = torch.randint(-127, 128, layer.weight.shape).float() / 128
    layer.weight.data[0, 0, 0, 0] = 127 / 128
    largest = torch.tensor(127 / 128)
    activation = ActivationQuantizer(torch.tensor(0.0), torch.tensor(255.0), 8)
    quantized = QuantConv2d(layer, activation, WeightQuantizer(-largest, largest, 8, True))
    x = torch.randint(0, 256, (2, 3, 6, 6)).float()
    assert torch.equal(quantized_weight(quantized), layer.weight)
    torch.testing.assert_close(quantized(x), layer(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_channel_grids_put_the_scaled_weight_on_the_grid(groups):
    layer = nn.Conv2d(4, 6, 3, groups=groups)
    upper = torch.tensor([1.0, 2.0, 4.0, 9.0]).view(4, 1, 1)
    activation = ActivationQuantizer(-upper, upper, 4)
    steps = expand_to_weight(activation.relative_step(), layer.weight)
    largest = (layer.weight * steps).detach().abs().max()
    weight = WeightQuantizer(-largest, largest, 4, symmetric=True)
    quantized = QuantConv2d(layer, activation, weight)
    scaled = quantized_weight(quantized) * steps
    torch.testing.assert_close(scaled, weight(layer.weight * steps), rtol=1e-6, atol=0)
    x = torch.randn(1, 4, 5, 5)
    expected = F.conv2d(activation(x), quantized_weight(quantized), layer.bias, groups=groups)
    assert torch.equal(quantized(x), expected)


def test_expand_to_weight_by_hand():
    weight = torch.zeros(6, 2, 3, 3)
    expanded = expand_to_weight(torch.tensor([1.0, 2.0, 3.0, 4.0]), weight)
    assert expanded.shape == (6, 2, 1, 1)
    assert expanded.flatten(1).tolist() == [[1, 2]] * 3 + [[3, 4]] * 3


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_expand_to_weight_moves_channel_factors_into_the_weight(groups):
    x, weight = torch.randn(2, 8, 5, 5), torch.randn(16, 8 // groups, 3, 3)
    factors = 2.0 ** torch.randint(-3, 4, (8,))
    moved = F.conv2d(x, weight * expand_to_weight(factors, weight), groups=groups)
    assert torch.equal(F.conv2d(x * factors.view(8, 1, 1), weight, groups=groups), moved)


def test_expand_to_weight_of_a_linear_layer():
    assert expand_to_weight(torch.tensor([1.0, 2.0]), torch.zeros(3, 2)).tolist() == [[1, 2]] * 3


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_sum_on_a_grid(scale):
    quantizer = ActivationQuantizer(torch.tensor(-2.0), torch.tensor(2.0), 8)
    a, b = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    expected = fake_quantize(a + scale * b, torch.tensor(-2.0), torch.tensor(2.0), 256)
    assert torch.equal(QuantAdd(Add(scale), quantizer)(a, b), expected)


@pytest.mark.parametrize(
    ("layer", "padding"),
    [
        (nn.Conv2d(1, 1, 3, padding="valid"), (0, 0)),
        (nn.Conv2d(1, 1, (3, 5), padding="same"), (1, 2)),
        (nn.Conv2d(1, 1, 3, padding="same", dilation=2), (2, 2)),
        (nn.Conv2d(1, 1, 3, padding=(0, 3)), (0, 3)),
    ],
    ids=["valid", "same", "same dilated", "numbers"],
)
def test_padding_is_resolved(layer, padding):
    assert conv_padding(layer) == padding


def grid(lower: float, upper: float, bits: int = 2) -> ActivationQuantizer:
    return ActivationQuantizer(torch.tensor(lower), torch.tensor(upper), bits)


def test_addends_have_a_grid_each():
    """Points 0..3 and 0, 2, 4, 6: 1.2 is 1, 3.2 is 4; half of the second is added."""
    module = QuantAddends(Add(0.5), grid(0.0, 3.0), grid(0.0, 6.0))
    assert module(torch.tensor([1.2]), torch.tensor([3.2])).tolist() == [3.0]
    assert module.quantizers() == {".left": module.left, ".right": module.right}
    spec = module.spec()
    assert (spec.left.upper, spec.right.upper, spec.scale) == (3.0, 6.0, 0.5)


def test_a_sum_has_one_grid():
    module = QuantAdd(Add(0.5), grid(0.0, 3.0))
    assert module.quantizers() == {"": module.quantizer}
    assert (module.spec().grid.upper, module.spec().scale) == (3.0, 0.5)


def test_operands_of_a_product_have_a_grid_each():
    """(1, 2) times (2, 4), from 1.2, 2.2 and 2.9, 3.2; on the lattice of eights 10 is 8."""
    module = QuantMatmul(Matmul(), grid(0.0, 3.0), grid(0.0, 6.0))
    a, b = torch.tensor([[1.2, 2.2]]), torch.tensor([[2.9], [3.2]])
    assert (module(a, b).tolist(), module(a, b).dtype) == ([[10.0]], torch.float32)
    module.lattice = 8.0
    assert (module(a, b).tolist(), module(a, b).dtype) == ([[8.0]], torch.float32)
    assert module.quantizers() == {".left": module.left, ".right": module.right}
    assert (module.spec().left.upper, module.spec().right.upper, module.spec().lattice) == (3.0, 6.0, 8.0)


def tiny_conv(bits: int = 8) -> QuantConv2d:
    return QuantConv2d(
        nn.Conv2d(2, 4, 3, padding=1), grid(-1.0, 2.0), WeightQuantizer(None, torch.tensor(1.0), bits, True)
    )


def test_channels_and_their_axis():
    conv = QuantConv2d(
        nn.Conv2d(4, 8, 3, groups=2, stride=2), grid(0.0, 3.0), weight_quantizer(torch.ones(8, 2, 3, 3), 4)
    )
    linear = QuantLinear(nn.Linear(5, 7), grid(0.0, 3.0), weight_quantizer(torch.ones(7, 5), 4))
    assert (conv.channels, conv.channel_axis, conv.geometry.groups, conv.geometry.stride) == (4, 1, 2, (2, 2))
    assert (linear.channels, linear.channel_axis, linear.geometry) == (5, -1, None)


def test_the_spec_of_a_layer():
    layer = tiny_conv(bits=4)
    layer.lattice = 0.5
    spec = layer.spec()
    assert (spec.weight_bits, spec.grid.bits, spec.lattice, spec.geometry.padding) == (4, 2, 0.5, (1, 1))
    torch.testing.assert_close(spec.weight.values().float(), layer.weight_quantizer(layer.weight).detach())
    assert torch.equal(spec.bias, layer.layer.bias)
    assert not spec.bias.requires_grad
    assert spec.bias.data_ptr() != layer.layer.bias.data_ptr()


def test_the_cached_weight_is_used():
    layer = tiny_conv()
    layer.cached_weight = torch.ones(4, 2, 3, 3)
    assert quantized_weight(layer) is layer.cached_weight


def test_zeros_stay_zeros_where_the_quantizer_says_so():
    """A channel of ones is its own range, so it passes; the padding of the convolution is zero."""
    layer = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    nn.init.ones_(layer.weight)
    quantized = QuantConv2d(layer, DANQuantizer(4, 1), WeightQuantizer(None, torch.tensor(1.0), 8, True))
    assert quantized(torch.ones(1, 1, 2, 2)).flatten().tolist() == pytest.approx([4.0] * 4)


def test_only_a_bound_that_is_learned_alone_is_the_learned_bound():
    layer = tiny_conv()
    assert learned_bound(layer) is None, "weight and bias are learned"
    layer.layer.weight.requires_grad_(False)
    assert learned_bound(layer) is None, "the bias is learned"
    layer.layer.bias.requires_grad_(False)
    assert learned_bound(layer) is layer.weight_quantizer.upper
    with torch.no_grad():
        assert learned_bound(layer) is None
    layer.lattice = 0.5
    assert learned_bound(layer) is None
    layer.lattice, layer.cached_weight = None, torch.ones(4, 2, 3, 3)
    assert learned_bound(layer) is None


def test_operands_are_float64_on_a_lattice_only():
    x, weight, bias = torch.ones(1), torch.ones(2), torch.ones(3)
    assert all(a is b for a, b in zip(precise(x, weight, bias, None), (x, weight, bias), strict=True))
    assert [tensor.dtype for tensor in precise(x, weight, bias, 0.5)] == [torch.float64] * 3
    assert precise(x, weight, None, 0.5)[2] is None


def test_settled_weights_have_an_output_scale_on_the_lattice():
    """Input step 1, weight step 1/127 * 1.1 = 0.00866: the lattice of 1/256 has 2/256, so weights shrink by a tenth."""
    layer = QuantLinear(nn.Linear(2, 1, bias=False), grid(-1.0, 2.0), WeightQuantizer(None, torch.tensor(1.1), 8, True))
    layer.layer.weight.data.copy_(torch.tensor([[1.1, -0.5]]))
    layer.lattice = 1 / 256
    assert quantized_weight(layer).flatten().tolist() == [127 * 2 / 256, -58 * 2 / 256]
    assert quantized_weight(layer).dtype == torch.float64


def test_settled_scales_are_rounded_once():
    """An output scale of 2.5 and 6e-8 more is nearer to 3; in float32 it would be 2.5, and a tie."""
    weights = WeightQuantizer(None, torch.tensor(127 * (1 + 2**-23)), 8, True)
    layer = QuantLinear(nn.Linear(1, 1, bias=False), grid(0.0, 7.5 - 2**-21), weights)
    layer.layer.weight.data.fill_(127.0)
    layer.lattice = 1.0
    assert quantized_weight(layer).item() == pytest.approx(127 * 3 / 2.5, rel=1e-6)


def test_settled_weights_with_a_step_per_input():
    """Input steps 1 and 3, mean 2. A weight step of 1/127 gives outputs of 2/127, nearest multiple of 1/64 is 1/64."""
    upper = torch.tensor([3.0, 9.0])
    inputs = ActivationQuantizer(torch.zeros(2), upper, 2)
    layer = QuantLinear(nn.Linear(2, 1, bias=False), inputs, WeightQuantizer(None, torch.tensor(1.0), 8, True))
    layer.layer.weight.data.copy_(torch.tensor([[2.0, 0.5]]))
    layer.lattice = 1 / 64
    expected = [127 / 128 / 0.5, 95 / 128 / 1.5]
    assert quantized_weight(layer).flatten().tolist() == pytest.approx(expected)


def test_a_shared_quantizer_is_listed_once(tiny, quantized):
    network = quantized(tiny("edsr"), Policy(LayerBits(4, 4)))
    layers = quant_layers(network)
    first, second = "body.0.body.0", "body.1.body.0"
    before = list(input_quantizers(network))
    layers[second].input_quantizer = layers[first].input_quantizer
    assert list(input_quantizers(network)) == [name for name in before if name != second]
    assert input_quantizers(network)[first] is layers[first].input_quantizer
    layers[first].input_quantizer = InputQuantizer(4)
    assert first not in activation_quantizers(network)
    assert second in activation_quantizers(network)
