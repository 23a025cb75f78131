"""A frozen layer computes what the fake-quantized one does.

Differences are stated in units of the largest output that weights, bias and grid allow, so that outputs that cancel
don't hide or inflate them: float32 sums of n products err by less than n * 6e-8 of it.
"""

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.frozen.kinds import frozen_module
from srquant.deploy.frozen.layers import FrozenConv2d, FrozenLinear
from srquant.deploy.frozen.sums import FrozenAdd
from srquant.errors import PolicyError
from srquant.grids.uniform import codes
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.models.blocks.layers import Add
from srquant.models.network import Facts, Network
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import QuantAdd, QuantConv2d, QuantLinear, quantized_weight

FLOAT_ROUNDING = 2e-6
EXACT = 2.0**20
"""Outputs below so many lattice spacings are equal: rounding scale and bias to float32 moves them by less than half."""
BITS = st.integers(2, 8)
BOUNDS = st.tuples(st.floats(-300, 300, width=32), st.floats(1 / 64, 500, width=32))
"""Lower bound and width: both positive, both negative and mixed all occur."""


@st.composite
def convolutions(draw: st.DrawFn) -> nn.Conv2d:
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    layer = nn.Conv2d(
        groups * draw(st.integers(1, 4)),
        groups * draw(st.integers(1, 3)),
        draw(pair),
        draw(pair),
        draw(st.one_of(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.just("valid"))),
        draw(pair),
        groups,
        draw(st.booleans()),
    )
    return filled(layer, draw)


@st.composite
def same_convolutions(draw: st.DrawFn) -> nn.Conv2d:
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 3)]))
    return filled(nn.Conv2d(2, 3, kernel, padding="same", dilation=draw(st.integers(1, 2))), draw)


@st.composite
def linears(draw: st.DrawFn) -> nn.Linear:
    return filled(nn.Linear(draw(st.integers(1, 9)), draw(st.integers(1, 6)), draw(st.booleans())), draw)


def filled(layer, draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = draw(st.sampled_from([0.01, 0.3, 20.0]))
    layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * size
    if layer.bias is not None:
        layer.bias.data = torch.randn(layer.bias.shape, generator=generator) * 10 * size
    return layer


def quantizer_of_inputs(draw: st.DrawFn, layer: nn.Module) -> ActivationQuantizer:
    conv = isinstance(layer, nn.Conv2d)
    count = layer.in_channels if conv else layer.in_features
    if draw(st.booleans()):
        lower, width = (torch.tensor(value) for value in draw(BOUNDS))
    else:
        base, extent = draw(BOUNDS)
        spread = torch.rand(2, count, generator=torch.Generator().manual_seed(draw(st.integers(0, 2**31))))
        lower, width = base * (spread[0] * 2 - 0.5), extent * (spread[1] + 0.05)
        lower, width = (v.reshape((-1, 1, 1) if conv else (-1,)) for v in (lower, width))
    return ActivationQuantizer(lower, lower + width, draw(BITS))


def quantizer_of_weights(draw: st.DrawFn, weight: Tensor) -> WeightQuantizer:
    rows = weight.detach().flatten(1) if draw(st.booleans()) else weight.detach().reshape(1, -1)
    symmetric, clip = draw(st.booleans()), draw(st.sampled_from([1.0, 0.6]))
    margin = rows.abs().amax(1) * 0.1  # a grid much narrower than its distance to zero has no precise step in float32
    lower, upper = rows.amin(1) * clip - margin, rows.amax(1) * clip + margin
    if symmetric:
        lower, upper = -torch.maximum(-lower, upper), torch.maximum(-lower, upper)
    shape = () if len(rows) == 1 and weight.shape[0] > 1 else (-1, *[1] * (weight.dim() - 1))
    return WeightQuantizer(lower.reshape(shape), upper.reshape(shape), draw(BITS), symmetric)


@st.composite
def quantized_layers(draw: st.DrawFn) -> tuple[QuantConv2d | QuantLinear, Tensor]:
    layer = draw(st.one_of(convolutions(), same_convolutions(), linears()))
    activation = quantizer_of_inputs(draw, layer)
    steps = activation.relative_step()
    assume(steps is None or float(steps.min()) > 1e-3)
    weight = quantizer_of_weights(draw, layer.weight)
    kind = QuantConv2d if isinstance(layer, nn.Conv2d) else QuantLinear
    shape = (2, layer.in_channels, 9, 11) if kind is QuantConv2d else (2, 3, layer.in_features)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    position = torch.rand(shape, generator=generator) * 1.4 - 0.2
    return kind(layer, activation, weight), activation.lower + position.detach() * (activation.upper - activation.lower)


def attainable(layer: QuantConv2d | QuantLinear) -> float:
    """Largest magnitude of any output."""
    quantizer, weight = layer.input_quantizer, quantized_weight(layer)
    points = torch.maximum(quantizer.lower.abs(), quantizer.upper.abs()).max()
    bias = 0.0 if layer.layer.bias is None else layer.layer.bias.abs().max()
    return float(weight.abs().flatten(1).sum(1).max() * points + bias)


@settings(max_examples=250, deadline=None)
@given(quantized_layers())
@torch.no_grad()
def test_layers_of_any_bits_bounds_and_windows(drawn):
    layer, x = drawn
    frozen = frozen_module(layer.spec())
    assert isinstance(frozen, FrozenConv2d | FrozenLinear)
    expected, actual = layer(x), frozen(x)
    assert actual.shape == expected.shape
    assert not differing_codes(layer, frozen, x)
    assert float((actual - expected).abs().max()) <= FLOAT_ROUNDING * attainable(layer)


@settings(max_examples=150, deadline=None)
@given(quantized_layers())
@torch.no_grad()
def test_settled_layers_are_equal_on_the_lattice(drawn):
    layer, x = drawn
    network = Network(nn.Sequential(layer), Facts("custom", 1, 1.0, (), ()))
    settle(network)
    frozen, delta = frozen_module(layer.spec()), layer.lattice
    expected, actual = layer(x), frozen(x)
    largest = attainable(layer)
    assert float((actual - expected).abs().max()) <= delta + FLOAT_ROUNDING / 4 * largest
    if layer.layer.bias is not None and largest < EXACT * delta:
        assert torch.equal(actual, expected)


def differing_codes(layer: QuantConv2d | QuantLinear, frozen: FrozenConv2d | FrozenLinear, x: Tensor) -> int:
    quantizer = layer.input_quantizer
    scaled = x if frozen.before is None else (x - frozen.before.lower) / frozen.before.step
    integers = frozen.grid(scaled) + frozen.grid.zero_point
    return int((integers != codes(x, quantizer.lower, quantizer.upper, quantizer.levels)).sum())


@settings(max_examples=100, deadline=None)
@given(BOUNDS, BITS, st.sampled_from([1.0, 0.1, -2.0]), st.integers(0, 2**31))
@torch.no_grad()
def test_sums(bounds, bits, scale, seed):
    lower, width = (torch.tensor(value) for value in bounds)
    layer = QuantAdd(Add(scale), ActivationQuantizer(lower, lower + width, bits))
    a, b = (lower + width) * torch.rand(2, 1, 4, 5, 5, generator=torch.Generator().manual_seed(seed))
    frozen = frozen_module(layer.spec())
    assert isinstance(frozen, FrozenAdd)
    largest = float(torch.maximum(lower.abs(), (lower + width).abs()))
    assert float((frozen(a, b) - layer(a, b)).abs().max()) <= FLOAT_ROUNDING * largest


@pytest.mark.parametrize(("lower", "upper"), [(0.5, 3.0), (-3.0, -0.5), (-1.0, 2.0)], ids=["above", "below", "around"])
@torch.no_grad()
def test_padding_is_the_grid_point_nearest_to_zero(lower, upper):
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    conv.weight.fill_(1.0)
    activation = ActivationQuantizer(torch.tensor(lower), torch.tensor(upper), 3)
    layer = QuantConv2d(conv, activation, WeightQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 2, True))
    nearest = min((lower + k * (upper - lower) / 7 for k in range(8)), key=abs)
    x = torch.full((1, 1, 1, 1), upper)
    assert frozen_module(layer.spec())(x).item() == pytest.approx(upper + 8 * nearest, rel=1e-6)


@torch.no_grad()
def test_largest_sums_are_exact():
    """576 * 127 * 255 needs more than the 24 bits of float32."""
    conv = nn.Conv2d(64, 1, 3, bias=False)
    conv.weight.fill_(1.0)
    activation = ActivationQuantizer(torch.tensor(0.0), torch.tensor(255.0), 8)
    layer = QuantConv2d(conv, activation, WeightQuantizer(torch.tensor(-127.0), torch.tensor(127.0), 8, True))
    conv.weight.fill_(127.0)
    conv.weight[0, 0, 0, 0] = 126.0
    frozen = frozen_module(layer.spec())
    assert frozen(torch.full((1, 64, 3, 3), 255.0)).item() == np.float32((576 * 127 - 1) * 255)


def small_model() -> QuantizedModel:
    conv, activation = nn.Conv2d(3, 3, 3), ActivationQuantizer(torch.tensor(0.0), torch.tensor(1.0), 4)
    layer = QuantConv2d(conv, activation, WeightQuantizer(torch.tensor(-0.5), torch.tensor(0.5), 4, True))
    network = Network(nn.Sequential(layer, nn.ReLU()), Facts("custom", 1, 1.0, ("0",), ("0",)))
    return QuantizedModel(network, Policy(), Origin("minmax"))


def test_freezing_leaves_the_model_unchanged():
    model = small_model()
    before = copy.deepcopy(model.network.state_dict())
    frozen = freeze(model)
    assert isinstance(frozen.network.module[0], FrozenConv2d)
    assert isinstance(model.network.module[0], QuantConv2d)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())
    assert not list(frozen.network.parameters())
    assert list(frozen.specs) == ["0"]
    assert (frozen.policy, frozen.origin) == (model.policy, model.origin)


@pytest.mark.parametrize(
    ("lower", "upper"), [(1.0, 0.0), (0.5, 0.5), (float("nan"), 1.0), (0.0, float("inf")), (0.0, 1e-45)]
)
def test_grids_that_are_none_are_refused(lower, upper):
    model = small_model()
    quantizer = model.network.module[0].input_quantizer
    quantizer.lower.data, quantizer.upper.data = torch.tensor(lower), torch.tensor(upper)
    with pytest.raises(PolicyError, match=r"layer '0'.*finite and > 0"):
        freeze(model)


@pytest.mark.parametrize(("lower", "upper"), [(0.0, 1e38), (-1e38, 0.0), (1e13, 1.1e13)])
def test_absurd_bounds_are_refused(lower, upper):
    model = small_model()
    quantizer = model.network.module[0].input_quantizer
    quantizer.lower.data, quantizer.upper.data = torch.tensor(lower), torch.tensor(upper)
    with pytest.raises(PolicyError, match=r"layer '0': bounds contains 1.*, more than 1e\+12; use other calibration"):
        freeze(model)


def test_a_frozen_model_is_not_frozen_again(small_model):
    assert not isinstance(small_model, QuantizedModel)
    with pytest.raises(PolicyError, match="freeze needs a quantized model, not a FrozenModel"):
        freeze(small_model)
