"""Rounding errors that make up for each other."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.blocks.layers import conv
from srquant.models.wrap import wrap
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import QuantConv2d, QuantLinear, quant_layers, scaled_weight
from srquant.weight_rounding.choose import round_weights
from srquant.weight_rounding.gptq import (
    apply_gptq,
    damped,
    gptq_weight,
    input_columns,
    input_moments,
    inverse_factors,
    rounded,
    zero_padded,
)

GRID = WeightQuantizer(torch.tensor(-7.0), torch.tensor(7.0), 4, True)

LAYERS = {
    "convolution": nn.Conv2d(6, 8, 3, padding=1),
    "strides and dilation": nn.Conv2d(6, 8, 3, stride=2, padding=2, dilation=2),
    "groups": nn.Conv2d(6, 8, 3, padding=1, groups=2),
    "linear": nn.Linear(6, 8),
}


def quantized_layer(layer, per_channel=False, by_input=False, bits=3):
    """A layer with symmetric weight grids; ``by_input``: one activation grid per input channel."""
    layer.weight.data = 0.2 * torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0))
    rows = layer.weight.detach().flatten(1)
    bound = rows.abs().amax(1).view(-1, *[1] * (layer.weight.dim() - 1)) if per_channel else rows.abs().max()
    upper = torch.linspace(0.5, 4, 6) if by_input else torch.tensor(4.0)
    upper = upper[:, None, None] if by_input and isinstance(layer, nn.Conv2d) else upper
    kind = QuantLinear if isinstance(layer, nn.Linear) else QuantConv2d
    return kind(layer, ActivationQuantizer(-upper, upper, 8), WeightQuantizer(-bound, bound, bits, True))


def inputs_of(layer):
    """Channels that resemble each other."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(3, 1, 12, 12, generator=random) + 0.3 * torch.randn(3, 6, 12, 12, generator=random)
    return x.movedim(1, -1) if isinstance(layer, nn.Linear) else x


def moments_of(layer, x):
    return sum((columns @ columns.transpose(1, 2)).double() for columns in input_columns(layer, zero_padded(layer, x)))


def output(layer, weight, x):
    if isinstance(layer, QuantLinear):
        return F.linear(x, weight)
    return F.conv2d(x, weight, None, layer.layer.stride, layer.padding, layer.layer.dilation, layer.layer.groups)


@pytest.mark.parametrize("by_input", [False, True], ids=["one input grid", "a grid per input"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["one grid", "a grid per output"])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
@torch.no_grad()
def test_outputs_change_less_and_weights_lie_on_the_grid(layer, per_channel, by_input):
    layer = quantized_layer(layer, per_channel, by_input)
    x = inputs_of(layer.layer)
    weight = gptq_weight(layer, moments_of(layer, x))
    scaled = scaled_weight(layer.weight, layer.input_quantizer)
    relative = scaled / layer.weight
    torch.testing.assert_close(layer.weight_quantizer(weight * relative), weight * relative, rtol=1e-5, atol=1e-6)
    nearest = layer.weight_quantizer(scaled) / relative
    error, before = (
        (output(layer, points, x) - output(layer, layer.weight, x)).square().mean() for points in (weight, nearest)
    )
    assert error < 0.8 * before


@pytest.mark.parametrize("layer", [layer for name, layer in LAYERS.items() if name != "linear"])
@torch.no_grad()
def test_columns_are_what_the_convolution_multiplies(layer):
    layer = quantized_layer(layer)
    x = inputs_of(layer.layer)
    rows = layer.weight.flatten(1).unflatten(0, (layer.layer.groups, -1))
    products = torch.stack([(rows @ columns).flatten(0, 1) for columns in input_columns(layer, zero_padded(layer, x))])
    torch.testing.assert_close(products, output(layer, layer.weight, x).flatten(2), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def rounded_by_hand(values, moments):
    """On 16 points from -7 to 7."""
    rows = torch.tensor([[values]], dtype=torch.float64)
    return rounded(rows, inverse_factors(moments[None].double()), GRID)[0, 0]


def test_equal_inputs_share_what_is_left():
    """Points are 14/15 apart, 1.4 among them: three times 1.2 is 0.6 too much if each takes the nearest."""
    points = rounded_by_hand([1.2, 1.2, 1.2], torch.ones(3, 3))
    assert sorted(points.tolist()) == pytest.approx([1.4 - 14 / 15, 1.4, 1.4])


def test_unrelated_inputs_round_to_the_nearest_point():
    values = [1.3, -2.2, 0.1, 6.9, -9.0]
    torch.testing.assert_close(rounded_by_hand(values, torch.eye(5)).float(), GRID(torch.tensor(values)).detach())


def test_inputs_that_are_never_seen_do_no_harm():
    moments = torch.diag(torch.tensor([1.0, 0.0, 2.0]))
    assert rounded_by_hand([1.0, 2.0, 3.0], moments).isfinite().all()


def test_moments_that_are_not_positive_definite_are_damped_more():
    indefinite = torch.tensor([[[1.0, 3.0], [3.0, 1.0]]], dtype=torch.float64)
    assert inverse_factors(indefinite).isfinite().all()
    zero = inverse_factors(torch.zeros(1, 3, 3, dtype=torch.float64))
    assert torch.equal(zero, torch.eye(3, dtype=torch.float64)[None])


def test_moments_that_are_not_finite_are_refused():
    with pytest.raises(PolicyError, match="aren't finite"):
        inverse_factors(torch.full((1, 2, 2), float("nan"), dtype=torch.float64))


@pytest.mark.parametrize("apply", ["gptq", "gptaq"])
def test_a_layer_whose_inputs_hardly_vary_is_rounded(apply, pictures, quantized):
    """The mean of its inputs is 1e5 times their deviation: float32 can't tell the moments from singular ones."""
    network = wrap(nn.Sequential(conv(3, 4), conv(4, 4), conv(4, 12), nn.PixelShuffle(2)), 2)
    with torch.no_grad():
        network.module[0].weight.mul_(1e-3)
        network.module[0].bias.fill_(100.0)
    calibration = pictures(2)
    student = quantized(network, Policy())
    round_weights(student, network, [calibration], apply)
    assert all(layer.weight.isfinite().all() for layer in quant_layers(student).values())


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
@pytest.mark.parametrize("apply", ["gptq", "gptaq"])
def test_a_layer_with_inputs_that_are_always_zero_is_rounded(apply, granularity, pictures, quantized):
    """Their moments are singular, and a grid per channel is as narrow as a grid may be."""
    network = wrap(nn.Sequential(conv(3, 4), nn.ReLU(), conv(4, 4), conv(4, 12), nn.PixelShuffle(2)), 2)
    with torch.no_grad():
        network.module[0].weight[1:3].zero_()
        network.module[0].bias[1:3] = -1.0
    calibration, policy = pictures(2), Policy(LayerBits(8, 8), activation_granularity=granularity)
    student = quantized(network, policy)
    round_weights(student, network, [calibration], apply)
    with torch.no_grad():
        wanted, found = network(calibration), student(calibration)
    assert (found - wanted).abs().mean() < 0.1 * wanted.std()


def test_inputs_are_not_changed_by_rounding():
    rows = torch.tensor([[[1.2, 0.3]]], dtype=torch.float64)
    rounded(rows, inverse_factors(torch.ones(1, 2, 2, dtype=torch.float64)), GRID)
    assert rows.tolist() == [[[1.2, 0.3]]]


def test_damping_is_a_share_of_the_mean_diagonal():
    moments = torch.tensor([[[2.0, 1.0], [1.0, 4.0]]])
    assert damped(moments, 0.1).flatten().tolist() == pytest.approx([2.3, 1.0, 1.0, 4.3])


@pytest.mark.parametrize(("height", "width", "positions"), [(16, 32, 512), (16, 33, 264)])
def test_at_most_512_positions_count(height, width, positions):
    layer = quantized_layer(nn.Conv2d(6, 8, 1))
    picture = torch.randn(1, 6, height, width)
    (columns,) = input_columns(layer, picture)
    assert torch.equal(columns, picture.reshape(1, 6, -1)[..., :: height * width // positions])


def test_columns_of_tokens():
    tokens = torch.randn(2, 5, 6)
    (columns,) = input_columns(quantized_layer(nn.Linear(6, 8)), tokens)
    assert torch.equal(columns, tokens.reshape(10, 6).T[None])


@torch.no_grad()
def test_all_layers_are_compensated_by_the_float_networks_inputs(teacher, quantized, pictures):
    student, batches = quantized(teacher, Policy()), [pictures(2), pictures(3, seed=2)]
    layers, inputs = quant_layers(student), {}
    for name in layers:
        teacher.module.get_submodule(name).register_forward_pre_hook(
            lambda _, x, name=name: inputs.setdefault(name, []).append(x[0])
        )
    moments = input_moments(teacher, layers, batches)
    for name, layer in layers.items():
        seen = [columns[0].double() for x in inputs[name] for columns in input_columns(layer, zero_padded(layer, x))]
        assert len(seen) == 5
        assert moments[name].dtype == torch.float64
        wanted = sum(x @ x.T for x in seen)
        torch.testing.assert_close(moments[name][0], wanted, rtol=0, atol=1e-5 * float(wanted.max()))
    expected = {name: gptq_weight(layer, moments[name]) for name, layer in layers.items()}
    apply_gptq(student, teacher, batches)
    for name, layer in layers.items():
        assert torch.equal(layer.weight, expected[name])
        assert len(teacher.module.get_submodule(name)._forward_pre_hooks) == 1  # the test's own
