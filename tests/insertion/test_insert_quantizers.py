"""Float layers become quantized ones."""

import pytest
import torch
from torch import nn

from srquant.errors import PolicyError
from srquant.grids.range_rules import minmax, symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.models.wrap import wrap
from srquant.quantizers.layers import QuantAdd, QuantConv2d, QuantLinear


def layers_of(network):
    return {n: m for n, m in network.module.named_modules() if isinstance(m, QuantConv2d | QuantLinear | QuantAdd)}


def test_bits_follow_the_policy_and_the_float_network_stays(tiny, quantized):
    network = tiny("edsr")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    policy = Policy(base=LayerBits(3, 5), overrides=(Override("body.2", LayerBits(2, 7)), Override("tail.1", None)))
    layers = layers_of(quantized(network, policy))
    found = {name: (m.weight_quantizer.bits, m.input_quantizer.bits) for name, m in layers.items()}
    assert found == {name: (bits.weight, bits.activation) for name, bits in resolve(network, policy).layers.items()}
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_eight_bit_layers_share_the_grid_of_the_sum_they_read(tiny, quantized):
    network = quantized(tiny("edsr"), Policy(base=LayerBits(4, 8), skip_bits=8))
    layers = layers_of(network)
    assert layers["body.1.body.0"].input_quantizer is layers["body.0.add"].quantizer
    assert layers["body.2"].input_quantizer is layers["body.1.add"].quantizer
    assert layers["tail.0.0"].input_quantizer is layers["add"].quantizer
    distinct = {id(m.quantizer if isinstance(m, QuantAdd) else m.input_quantizer) for m in layers.values()}
    assert len(distinct) == len(layers) - 3


def test_low_bit_layers_have_grids_of_their_own(tiny, quantized):
    layers = layers_of(quantized(tiny("edsr"), Policy(base=LayerBits(4, 4), skip_bits=8)))
    assert layers["body.1.body.0"].input_quantizer is not layers["body.0.add"].quantizer
    assert layers["body.0.add"].quantizer.bits == 8
    assert layers["tail.0.0"].input_quantizer is layers["add"].quantizer


def test_rectified_sums_share_their_grid_through_the_relu(tiny, quantized, pictures):
    network = tiny("rnet")
    layers = layers_of(quantized(network, Policy(base=LayerBits(4, 8), skip_bits=8)))
    assert layers["blocks.1.body.0"].input_quantizer is layers["blocks.0.add"].quantizer
    assert layers["blocks.0.add"].quantizer.lower.item() == 0.0


def test_sums_stay_float_without_skip_bits(tiny, quantized):
    assert not any(isinstance(m, QuantAdd) for m in quantized(tiny("edsr"), Policy()).modules())


def test_skip_bits_need_sums_inside_the_network(tiny, quantized):
    with pytest.raises(PolicyError, match="no residual Add"):
        quantized(tiny("compact"), Policy(skip_bits=8))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.Conv2d(3, 3, (3, 2), padding="same")],
    ids=["reflect", "uneven same"],
)
def test_padding_that_integer_engines_lack_is_refused_with_the_way_out(layer, quantized):
    plain = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
    network = wrap(nn.Sequential(next(plain), layer, *plain), 1)
    with pytest.raises(PolicyError, match=r"'1'.*float with an override"):
        quantized(network, Policy())
    assert "1" not in layers_of(quantized(network, Policy(overrides=(Override("1", None),))))


@pytest.mark.parametrize(("granularity", "shape"), [("tensor", ()), ("channel", (8, 1, 1, 1))])
def test_weight_granularity(tiny, quantized, granularity, shape):
    layer = layers_of(quantized(tiny("edsr"), Policy(granularity=granularity)))["body.2"]
    assert layer.weight_quantizer.upper.shape == shape
    rows = layer.weight.detach().abs().flatten(1)
    expected = rows.amax(1) if granularity == "channel" else rows.max()
    assert torch.equal(layer.weight_quantizer.upper.detach().reshape(expected.shape), expected)


@pytest.mark.parametrize(("granularity", "shape"), [("tensor", ()), ("channel", (8, 1, 1))])
def test_activation_granularity(tiny, quantized, granularity, shape):
    layer = layers_of(quantized(tiny("edsr"), Policy(activation_granularity=granularity)))["body.2"]
    assert layer.input_quantizer.lower.shape == layer.input_quantizer.upper.shape == shape


def test_symmetric_weights_reach_as_far_as_the_wider_bound(tiny, pictures):
    network, policy = tiny("edsr"), Policy()
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [pictures()], Collection(minmax, None))
    symmetric = layers_of(insert_quantizers(network, plan, bounds, minmax))["body.2"].weight_quantizer
    largest = layers_of(insert_quantizers(network, plan, bounds, symmetric_max))["body.2"].weight_quantizer
    assert symmetric.lower is None
    assert torch.equal(symmetric.upper, largest.upper)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_two_bounds_hold_weights_far_from_zero(pictures, bits):
    """Integer weights have no zero point, so that a grid has to reach zero."""
    module = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1))
    nn.init.uniform_(module[1].weight, 0.5, 0.51)
    network = wrap(module, 1, tail=())
    policy = Policy(LayerBits(bits, 8), granularity="channel", symmetric_weights=False)
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [pictures()], Collection(minmax, None))
    layer = layers_of(insert_quantizers(network, plan, bounds, minmax))["1"]
    error = (layer.weight_quantizer(layer.weight) - layer.weight).detach().abs().max()
    assert float(error) <= 0.51 / (2**bits - 1)


class ToTokens(nn.Module):
    def forward(self, x):
        return x.permute(0, 2, 3, 1)


class ToPicture(nn.Module):
    def forward(self, tokens):
        return tokens.permute(0, 3, 1, 2)


def test_layers_of_any_module(quantized):
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 4, 1), ToTokens(), nn.Linear(4, 3))
    network = wrap(nn.Sequential(*module, ToPicture()), 1)
    layers = layers_of(quantized(network, Policy(activation_granularity="channel")))
    assert [type(m) for m in layers.values()] == [QuantConv2d, QuantConv2d, QuantLinear]
    assert layers["4"].input_quantizer.lower.shape == (4,)
