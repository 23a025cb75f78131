"""Auto: what is chosen for which bits."""

import pytest
import torch

from srquant.distillation.lessons import recorded
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.auto.method import Auto, quantize
from srquant.methods.distill.method import held_out_crops
from srquant.methods.distill.start import best_start
from srquant.models.load import build
from srquant.quantizers.layers import quant_layers

FOUR_BITS = Policy(LayerBits(4, 4))


@pytest.mark.parametrize(
    ("bits", "effort", "chosen"), [(2, "long", "long"), (6, "normal", "normal"), (7, "long", "quick")]
)
def test_many_bits_learn_for_a_short_time(bits, effort, chosen):
    assert Auto(effort).learning(Policy(LayerBits(bits, bits))).effort == chosen


def test_the_file_says_what_was_done(calibration):
    network = build("edsr", {"blocks": 1, "features": 4}).eval()
    origin = quantize(network, calibration, Policy(LayerBits(8, 8)), Auto()).origin
    assert (origin.method, origin.options["effort"]) == ("distill", "quick")


@pytest.mark.parametrize(("compare", "kinds"), [(True, ["tensor", "channel"]), (False, ["tensor"])])
def test_both_kinds_of_grids_are_tried_unless_the_policy_decides(compare, kinds):
    policies = Auto(compare_grids=compare).policies(FOUR_BITS)
    assert [policy.granularity for policy in policies] == kinds
    assert [policy.activation_granularity for policy in policies] == kinds


@pytest.mark.parametrize("first", [0, 1])
def test_channels_of_different_sizes_get_grids_of_their_own(calibration, first):
    network = build("edsr", {"blocks": 1, "features": 4}).eval()
    inner, outer = (network.module.get_submodule(name) for name in ("body.0.body.0", "body.0.body.2"))
    sizes = torch.tensor([0.01, 1.0, 10.0, 100.0])
    with torch.no_grad():
        inner.weight.mul_(sizes.view(4, 1, 1, 1))
        inner.bias.mul_(sizes)
        outer.weight.div_(sizes.view(1, 4, 1, 1))
    plans = [resolve(network, policy) for policy in Auto().policies(FOUR_BITS)]
    order = plans if first == 0 else plans[::-1]
    with recorded(network, held_out_crops(calibration)) as held_out:
        start = best_start(network, calibration, order, held_out)
    assert (start.policy.granularity, start.policy.activation_granularity) == ("channel", "channel")
    bounds = next(iter(quant_layers(start.student).values())).weight_quantizer.upper
    assert bounds.numel() == 4
