"""Bounds collected from a stream of batches."""

import gc
import weakref

import pytest
import torch

from srquant.errors import DatasetError
from srquant.grids.range_rules import minmax, percentile
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.models.load import build

OUTERMOST = Collection(minmax, None)
POLICIES = {
    "float skip": Policy(),
    "8-bit skip": Policy(skip_bits=8),
    "per channel": Policy(activation_granularity="channel"),
}


def bounds_of(network, policy, batches, collect=OUTERMOST):
    return activation_bounds(network, resolve(network, policy), batches, collect)


def hooks(network):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())
@pytest.mark.parametrize("architecture", ["edsr", "rnet", "carn"])
def test_streamed_bounds_are_those_of_one_big_batch(tiny, pictures, architecture, policy):
    network, images = tiny(architecture), pictures(6)
    whole = bounds_of(network, policy, [images])
    streamed = bounds_of(network, policy, images.split([1, 3, 2]))
    assert whole.keys() == streamed.keys()
    for name, bounds in whole.items():
        for a, b in zip(bounds, streamed[name], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6 * float(bounds[1].max() - bounds[0].min()))


def test_bounds_are_of_layer_inputs_and_sums(tiny, pictures):
    network, images = tiny("edsr"), pictures()
    bounds = bounds_of(network, Policy(skip_bits=8), [images])
    assert set(bounds) == {*resolve(network, Policy()).layers, "body.0.add", "body.1.add", "add"}
    module = network.module
    with torch.no_grad():
        shifted = module.sub_mean(images * 255)
        first = module.head(shifted)
        total = module.body[0](first)
    for name, values in {"head.0": shifted, "body.0.body.0": first, "body.0.add": total}.items():
        assert [b.item() for b in bounds[name]] == [values.min().item(), values.max().item()]
        assert bounds[name][0].shape == ()


def test_bounds_of_rectified_sums_start_at_zero(tiny, pictures):
    bounds = bounds_of(tiny("rnet"), Policy(skip_bits=8), [pictures()])
    assert bounds["blocks.0.add"][0].item() == 0.0
    assert bounds["add"][0].item() < 0.0


def test_bounds_per_channel(tiny, pictures):
    network, images = tiny("edsr"), pictures()
    lower, upper = bounds_of(network, Policy(activation_granularity="channel"), [images])["head.0"]
    shifted = network.module.sub_mean(images * 255)
    assert torch.equal(lower, shifted.amin((0, 2, 3)).view(3, 1, 1))
    assert torch.equal(upper, shifted.amax((0, 2, 3)).view(3, 1, 1))


def test_levels_of_the_rule_are_those_of_the_activation(tiny, pictures):
    seen = []

    def rule(rows, levels):
        seen.append(levels)
        return minmax(rows, levels)

    policy = Policy(base=LayerBits(2, 3), skip_bits=8)
    bounds_of(tiny("edsr"), policy, [pictures()], Collection(rule, None))
    assert seen.count(8) == 5
    assert seen.count(256) == 3 + 3


def test_rules_of_single_activations(tiny, pictures):
    collect = Collection(minmax, None, rules={"body.2": percentile(0.1)})
    network = tiny("edsr")
    usual = bounds_of(network, Policy(), [pictures()])
    found = bounds_of(network, Policy(), [pictures()], collect)
    assert [name for name in usual if usual[name] != found[name]] == ["body.2"]


def test_inputs_of_first_layers_see_black_and_white(tiny, pictures):
    network, gray = tiny("edsr"), torch.full((2, 3, 8, 8), 0.5)
    bounds = bounds_of(network, Policy(), [gray], Collection(percentile(0.1), 0.9, picture_rule=minmax))
    colours = network.module.sub_mean(torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, 1, 1))
    assert [b.item() for b in bounds["head.0"]] == [colours.min().item(), colours.max().item()]
    only_gray = bounds_of(network, Policy(), [gray], Collection(percentile(0.1), 0.9))
    assert torch.equal(bounds["body.0.body.0"][1], only_gray["body.0.body.0"][1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_batch_that_is_not_finite(tiny, pictures, value):
    network, bad = tiny("edsr"), pictures()
    bad[1, 2, 3, 4] = value
    with pytest.raises(DatasetError, match=r"batch 1 .*not finite"):
        bounds_of(network, Policy(), [pictures(), bad])
    assert hooks(network) == 0


def test_no_batches(tiny):
    network = tiny("edsr")
    with pytest.raises(DatasetError, match="at least one picture"):
        bounds_of(network, Policy(skip_bits=8), [])
    assert hooks(network) == 0


@pytest.mark.parametrize("rule", [minmax, percentile(0.01)])
def test_a_layer_that_never_sees_anything_is_named(tiny, pictures, rule):
    network = tiny("edsr")
    network.module.body[0].body[0].weight.data.zero_()
    network.module.body[0].body[0].bias.data.fill_(-1.0)
    with pytest.raises(DatasetError, match=r"'body\.0\.body\.2' is zero on all calibration pictures"):
        bounds_of(network, Policy(), [pictures(), pictures(seed=2)], Collection(rule, 0.9))
    assert hooks(network) == 0
    kept_float = Policy(overrides=(Override("body.0.body.2", None),))
    assert "body.1.body.2" in bounds_of(network, kept_float, [pictures()], Collection(rule, 0.9))


def test_a_layer_that_rarely_sees_something_has_bounds(tiny, pictures):
    network, black = tiny("edsr"), torch.zeros(2, 3, 12, 12)
    network.module.sub_mean.bias.data.zero_()
    bounds = bounds_of(network, Policy(), [black, pictures(), black], Collection(percentile(0.4), 0.9))
    assert bounds["head.0"][1] > 0


def test_no_hooks_are_left(tiny, pictures):
    network = tiny("edsr")
    bounds_of(network, Policy(skip_bits=8), [pictures()], Collection(minmax, None, picture_rule=minmax))
    assert hooks(network) == 0

    def failing_rule(rows, levels):
        raise KeyError("rule")

    for collect in (Collection(failing_rule, None), Collection(minmax, None, picture_rule=failing_rule)):
        with pytest.raises(KeyError, match="rule"):
            bounds_of(network, Policy(), [pictures()], collect)
        assert hooks(network) == 0


def test_one_batch_is_held_at_a_time(tiny, pictures):
    made = []

    def batches():
        for seed in range(4):
            gc.collect()
            assert sum(reference() is not None for reference in made) <= 1  # the loop variable of the reader
            batch = pictures(1, seed=seed)
            made.append(weakref.ref(batch))
            yield batch

    bounds_of(tiny("edsr"), Policy(skip_bits=8), batches())
    assert len(made) == 4


def test_linear_layers(pictures):
    network = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16})
    bounds = bounds_of(network, Policy(activation_granularity="channel"), [pictures()])
    linear = [name for name in bounds if name.endswith("fc1")]
    assert linear
    assert all(bounds[name][0].shape == (8,) for name in linear)
