"""Settled networks compute the same picture bit for bit in their frozen form."""

import copy
import math

import pytest
import torch

from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.frozen.layers import FrozenConv2d, offset_bias
from srquant.grids.uniform import zero_point
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import COARSE, settle, settle_bounds, settle_on_one, spacing
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import QuantAdd, QuantConv2d, output_scale, quantized_weight
from srquant.quantizers.meeting import meetings

POLICIES = {
    "W2A2": Policy(LayerBits(2, 2)),
    "W3A5 per channel": Policy(LayerBits(3, 5), granularity="channel"),
    "W4A4": Policy(LayerBits(4, 4)),
    "W4A4, two bounds": Policy(LayerBits(4, 4), symmetric_weights=False),
    "W4A4, 8-bit skip": Policy(LayerBits(4, 4), skip_bits=8),
    "W4A8, 8-bit skip, per channel": Policy(LayerBits(4, 8), skip_bits=8, granularity="channel"),
    "W6A6, all per channel": Policy(LayerBits(6, 6), granularity="channel", activation_granularity="channel"),
    "W8A8": Policy(LayerBits(8, 8), skip_bits=8),
    "W8A8, all per channel": Policy(LayerBits(8, 8), granularity="channel", activation_granularity="channel"),
}
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
architectures = pytest.mark.parametrize("architecture", ["edsr", "rnet", "carn"])


def layers_of(network):
    return {n: m for n, m in network.module.named_modules() if isinstance(m, QuantConv2d | QuantAdd)}


def widest_spacing(grids):
    return spacing(max((grid.upper - grid.lower).max().item() for grid in grids))


def frozen(network, policy):
    return freeze(QuantizedModel(network, policy, Origin("test"))).network


@policies
@architectures
def test_frozen_network_computes_the_same_picture(tiny, quantized, pictures, architecture, policy):
    network = quantized(tiny(architecture), policy)
    settle(network)
    images = pictures(2, 17, seed=5)
    with torch.inference_mode():
        assert torch.equal(network(images), frozen(network, policy)(images))


@policies
@architectures
def test_steps_are_odd_and_offsets_whole_multiples(tiny, quantized, architecture, policy):
    network = quantized(tiny(architecture), policy)
    layers = layers_of(network)
    heads = {layers[name].input_quantizer for name in network.facts.head}
    groups = [heads, *({*group.quantizers} - heads for group in meetings(network))]
    deltas = {grid: widest_spacing(group) for group in groups for grid in group}
    settle(network)
    for name, module in layers.items():
        grid = module.quantizers()[""]
        delta = deltas[grid]
        assert math.log2(delta).is_integer()
        steps = (grid.upper - grid.lower).double() / (grid.levels - 1) / delta
        assert bool((steps % 2 == 1).all()), name
        assert bool((grid.lower.double() / delta % 1 == 0).all()), name


@policies
@architectures
def test_output_scales_and_biases_are_multiples(tiny, quantized, architecture, policy):
    network = quantized(tiny(architecture), policy)
    settle(network)
    layers = [m for m in frozen(network, policy).modules() if isinstance(m, FrozenConv2d)]
    assert len(layers) == sum(isinstance(m, QuantConv2d) for m in network.modules())
    for layer in layers:
        delta = layer.lattice
        assert math.log2(delta).is_integer()
        multiples = (layer.weight_scale.double() * layer.grid.step) / delta
        torch.testing.assert_close(multiples, multiples.round().clamp(min=1), rtol=1e-5, atol=0)
        assert bool((layer.output_scale().double() / delta % 1 == 0).all())
        assert bool((layer.corrected_bias().double() / delta % 1 == 0).all())


@pytest.mark.parametrize("bits", [4, 5, 6, 7, 8])
@architectures
def test_activation_bounds_move_by_less_than_a_thousandth(tiny, quantized, architecture, bits):
    network = quantized(
        tiny(architecture), Policy(LayerBits(4, bits), head=LayerBits(4, bits), tail=LayerBits(4, bits))
    )
    before = copy.deepcopy(layers_of(network))
    settle(network)
    for name, layer in layers_of(network).items():
        grid, first = layer.quantizers()[""], before[name].quantizers()[""]
        width = first.upper - first.lower
        for moved in (grid.lower - first.lower, grid.upper - first.upper):
            assert (moved.abs() / width).max().item() < 1e-3, name


@policies
def test_biases_settle_with_what_the_offset_adds(tiny, quantized, policy):
    """Up to the rounding of float32 scales; unsettled ones would be a quarter off on average."""
    network = quantized(tiny("edsr"), policy)
    settle(network)
    for layer in (m for m in frozen(network, policy).modules() if isinstance(m, FrozenConv2d)):
        multiples = offset_bias(layer.grid, layer.weight, layer.weight_scale, layer.bias) / layer.lattice
        assert float((multiples - multiples.round()).abs().mean()) < 0.1


@policies
@architectures
def test_biases_before_a_grid_are_whole_units_from_its_offset(tiny, quantized, architecture, policy):
    network = quantized(tiny(architecture), policy)
    settle(network)
    layers, checked = layers_of(network), 0
    settled = dict(frozen(network, policy).module.named_modules())
    for name, layer in layers.items():
        following = layers.get(getattr(layer, "next", None))
        if following is None or layer.layer.bias is None or isinstance(following, QuantAdd):
            continue
        grid, scale = following.input_quantizer, settled[name].output_scale().double()
        offset, step = grid.lower.detach().double().flatten(), grid.step().detach().double()
        if grid.lower.dim() == 0:
            offset = offset + step * zero_point(grid.lower.detach(), grid.upper.detach(), grid.levels)
        elif len(offset) != len(scale):
            continue  # a shuffle moves channels
        units = (settled[name].corrected_bias().double() - offset) / scale
        assert float((units - units.round()).abs().max()) < 1e-6, name
        checked += 1
    assert checked >= (0 if architecture == "rnet" else 2)  # its body has no biases


@policies
def test_biases_move_by_half_a_unit_at_most(tiny, quantized, policy):
    network = tiny("edsr")
    settled = quantized(network, policy)
    settle(settled)
    for name, layer in layers_of(settled).items():
        if isinstance(layer, QuantConv2d):
            moved = layer.layer.bias.detach() - network.module.get_submodule(name).bias.detach()
            unit = output_scale(layer)
            free = not isinstance(layers_of(settled).get(layer.next), QuantConv2d)
            coarse = (unit > COARSE * layer.lattice) & free
            most = torch.where(coarse, 0.6 * layer.lattice, 0.5 * unit + 0.1 * layer.lattice)
            assert bool((moved.abs() <= most).all()), name


@pytest.mark.parametrize("steps", [-9e-4, -1.3e-4, 3e-5, 9e-4])
def test_a_grid_that_almost_holds_zero_holds_it(steps):
    """OpenVINO drops so small a shift, and codes next to ties would be others there."""
    quantizer = ActivationQuantizer(torch.tensor(steps * 0.03), torch.tensor((steps + 15) * 0.03), 4)
    with torch.no_grad():
        quantizer.settle(2.0**-20)
    assert float(quantizer.lower.detach()) == 0.0


@policies
@architectures
def test_weights_on_settled_bounds_stay_when_all_settles(tiny, quantized, architecture, policy):
    network = quantized(tiny(architecture), policy)
    settle_bounds(network)
    layers = {name: layer for name, layer in layers_of(network).items() if isinstance(layer, QuantConv2d)}
    for layer in layers.values():
        layer.layer.weight.data.copy_(quantized_weight(layer))
    before = {name: layer.spec().weight.codes.clone() for name, layer in layers.items()}
    settle(network)
    for name, layer in layers.items():
        assert torch.equal(layer.spec().weight.codes, before[name]), name


def test_only_a_common_lattice_ignores_which_values_meet(tiny, quantized):
    """A range that is far wider than all others takes bits from the weights of layers whose values it meets."""
    apart, together = (quantized(tiny("edsr"), POLICIES["W8A8"]) for _ in range(2))
    for network in (apart, together):
        layers_of(network)["body.1.body.2"].input_quantizer.upper.data.mul_(2**12)
    settle(apart)
    settle_on_one(together)
    name = "body.0.body.0"
    lattices = [layers_of(network)[name].lattice for network in (apart, together)]
    assert lattices[0] < lattices[1] / 2**8
    unchanged = quantized(tiny("edsr"), POLICIES["W8A8"])
    bounds = [layers_of(network)[name].weight_quantizer.upper.max().item() for network in (unchanged, apart, together)]
    assert bounds[1] < 1.1 * bounds[0] < bounds[2]
