"""Residual blocks quantize what passes them like what goes in, in every architecture; weight grids follow weights."""

import pytest
import torch

from srquant.grids.range_rules import symmetric_max
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantize_addends import quantize_addends
from srquant.insertion.refit_weight_grids import percentile_with_zero, refit_weight_grids, signed_max
from srquant.insertion.replace_quantizers import replace_activation_quantizers
from srquant.insertion.residual_graph import trace_residual_graph
from srquant.insertion.settle_on_lattice import settle
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import QuantAddends, activation_quantizers, quant_layers, quantized_weight

BLOCKS = {
    "edsr": ({"blocks": 3, "features": 4, "scale": 2}, ["body.0.add", "body.1.add", "body.2.add"]),
    "msrresnet": ({"blocks": 2, "features": 4, "scale": 2}, ["body.0.add", "body.1.add"]),
}


def plan_of(network: Network, bits: int = 4) -> QuantizationPlan:
    return resolve(network, Policy(LayerBits(bits, bits), head=None, tail=None, symmetric_weights=False))


def quantized(network: Network, bits: int = 4, narrow: bool = True) -> Network:
    plan = plan_of(network, bits)
    bounds = dict.fromkeys(plan.layers, (torch.tensor(-3.0), torch.tensor(3.0)))
    student = insert_quantizers(network, plan, bounds, signed_max)
    replace_activation_quantizers(student, lambda old: ActivationQuantizer(old.lower, old.upper, old.bits, narrow))
    return student


@pytest.mark.parametrize("architecture", BLOCKS)
def test_the_sums_of_blocks_are_of_grid_points(architecture: str) -> None:
    arguments, wanted = BLOCKS[architecture]
    network = build(architecture, arguments)
    student = quantized(network)
    assert quantize_addends(student, plan_of(network)) == wanted
    for name in wanted:
        add = student.module.get_submodule(name)
        assert isinstance(add, QuantAddends)
        assert add.left is quant_layers(student)[trace_residual_graph(network).addend_readers[name]].input_quantizer
        assert add.right is activation_quantizers(student)[f"{name}.right"]


def test_networks_whose_blocks_start_with_a_norm_keep_float_sums() -> None:
    network = build("swinir", {"scale": 2, "depths": [2], "heads": 2, "features": 8, "window": 4, "hidden": 16})
    assert quantize_addends(quantized(network), plan_of(network)) == []


def test_a_sum_is_that_of_its_points() -> None:
    network = build("edsr", {"blocks": 1, "features": 4, "scale": 2})
    student = quantized(network)
    quantize_addends(student, plan_of(network))
    add, a, b = student.module.get_submodule("body.0.add"), torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    step = 3 / 7
    points = [(x.clamp(-3, 3) / step).round() * step for x in (a, b)]
    assert torch.allclose(add(a, b), points[0] + points[1], atol=1e-5)


def test_exchanged_quantizers_are_shared_where_the_old_were() -> None:
    network = build("edsr", {"blocks": 1, "features": 4, "scale": 2})
    student = quantized(network)
    quantize_addends(student, plan_of(network))
    made = []
    replace_activation_quantizers(student, lambda old: made.append(old) or ActivationQuantizer(old.lower, old.upper, 3))
    assert len(made) == len(activation_quantizers(student)) == 4
    assert student.module.get_submodule("body.0.add").left.bits == 3


@pytest.mark.parametrize("bits", range(2, 9))
def test_symmetric_grids_with_a_zero_are_integers_as_they_are(bits: int) -> None:
    student = quantized(build("edsr", {"blocks": 1, "features": 4, "scale": 2}), bits)
    n = 2 ** (bits - 1) - 1
    for layer in quant_layers(student).values():
        layer.layer.weight.data.mul_(1.7)
    refit_weight_grids(student, signed_max)
    for layer in quant_layers(student).values():
        weight, largest = layer.weight.detach(), layer.weight.detach().abs().max()
        integers = layer.weight_quantizer.integer_weight(weight)
        assert torch.equal(integers.integers(), (weight * (n / largest)).round().to(torch.int8))
        assert torch.allclose(integers.values(), quantized_weight(layer).detach().double(), rtol=1e-5)


def test_percentile_grids_hold_zero_after_settling_too() -> None:
    student = quantized(build("edsr", {"blocks": 1, "features": 4, "scale": 2}), 3)
    refit_weight_grids(student, percentile_with_zero(0.01))
    settle(student)
    for layer in quant_layers(student).values():
        position = layer.weight_quantizer.lower / (layer.weight_quantizer.upper - layer.weight_quantizer.lower) * 7
        assert torch.allclose(position, position.round(), atol=1e-4)


def test_rules_follow_only_where_they_are_told() -> None:
    student = quantized(build("edsr", {"blocks": 1, "features": 4, "scale": 2}))
    layer = quant_layers(student)["body.1"]
    before = layer.weight_quantizer.upper.detach().clone()
    layer.layer.weight.data.mul_(2)
    assert torch.equal(layer.weight_quantizer.upper, before)
    refit_weight_grids(student, symmetric_max)
    assert torch.allclose(layer.weight_quantizer.upper, 2 * before)


@pytest.mark.parametrize("narrow", [True, False])
def test_a_grid_that_holds_zero_keeps_it_when_it_settles(narrow: bool) -> None:
    lower = torch.tensor(-1.2345)
    grid = ActivationQuantizer(lower, -lower if narrow else -lower * 8 / 7, 4, narrow)
    assert grid.levels == 16 - narrow
    with torch.no_grad():
        grid.settle(2.0**-14)
        assert grid(torch.zeros(1)) == 0
        assert (grid.lower * 2**14) % 1 == 0
        assert (grid.step() * 2**14) % 2 == 1
