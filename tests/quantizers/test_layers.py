"""Quantized layers compute what the float layer computes on grid points."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from srquant.grids.uniform import fake_quantize
from srquant.models.blocks.layers import Add
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import (
    QuantAdd,
    QuantConv2d,
    QuantLinear,
    conv_padding,
    expand_to_weight,
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
