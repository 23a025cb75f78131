"""Layers that stay float because the picture needs them."""

from itertools import islice

import pytest
import torch

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.lessons import recorded
from srquant.grids.range_rules import minmax, symmetric_max
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.methods.auto.method import Auto
from srquant.methods.distill.method import Distill, quantize
from srquant.methods.distill.sensitive import (
    by_gain_for_cost,
    keep_sensitive,
    keeping,
    shares_of_multiplications,
    small_error,
    squared_error,
)
from srquant.methods.ranges.pipeline import Ranges, insert_by_ranges
from srquant.models.load import build
from srquant.quantizers.layers import quant_layers

EIGHT_BITS = Policy(LayerBits(8, 8))
WILD = "body.0.body.0"


@pytest.fixture
def robust():
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture
def wild(robust):
    """A network with a layer that 8 bits are too few for: an output channel that a ReLU removes has huge weights."""
    layer, next_layer = (robust.module.get_submodule(name) for name in (WILD, "body.0.body.2"))
    with torch.no_grad():
        layer.weight[0] *= 2**12
        layer.bias[0] = -(2**20)
        layer.weight[1:] *= 8
        next_layer.weight.mul_(8)
    return robust


def lessons_of(network, calibration):
    return recorded(network, islice(calibration.batches(4, 5), 1))


def student_of(network, calibration, policy=EIGHT_BITS):
    ranges = Ranges(minmax, symmetric_max, None)
    return insert_by_ranges(network, calibration, resolve(network, policy), ranges)


def test_a_robust_network_keeps_nothing(robust, calibration):
    student = student_of(robust, calibration)
    with lessons_of(robust, calibration) as lessons:
        assert squared_error(student, lessons) < small_error(2)
        assert keep_sensitive(student, robust, lessons) == []
    assert len(quant_layers(student)) == len(resolve(robust, EIGHT_BITS).layers)


def test_the_sensitive_layer_is_found_and_stays_float(wild, calibration):
    student = student_of(wild, calibration)
    with lessons_of(wild, calibration) as lessons:
        before = squared_error(student, lessons)
        assert before > small_error(2)
        costs = shares_of_multiplications(student, lessons)
        assert by_gain_for_cost(student, wild, lessons, before, costs)[0] == WILD
        assert squared_error(student, lessons) == before, "measuring changes nothing"
        assert keep_sensitive(student, wild, lessons)[:1] == [WILD]
        assert squared_error(student, lessons) < before / 10
    assert WILD not in quant_layers(student)
    assert torch.equal(student.module.get_submodule(WILD).weight, wild.module.get_submodule(WILD).weight)


def test_the_last_quantized_layer_of_the_body_stays(wild, calibration):
    others = ("body.0.body.2", "body.1.body.0", "body.1.body.2", "body.2")
    policy = Policy(LayerBits(8, 8), overrides=tuple(Override(name, None) for name in others))
    student = student_of(wild, calibration, policy)
    with lessons_of(wild, calibration) as lessons:
        assert WILD not in keep_sensitive(student, wild, lessons)


def test_a_name_with_brackets_is_no_pattern():
    policy = keeping(Policy(overrides=(Override("a*", None),)), ["b[0]"])
    assert policy.overrides == (Override("a*", None), Override("b[[]0]", None))


def test_multiplications_are_those_of_the_layers(robust, calibration):
    with lessons_of(robust, calibration) as lessons:
        shares = shares_of_multiplications(student_of(robust, calibration), lessons)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["tail.1"] / shares["head.0"] == pytest.approx(4)
    assert shares["body.2"] / shares["head.0"] == pytest.approx(8 / 3)


def test_of_two_layers_with_one_gain_the_cheaper_one_comes_first(wild, calibration):
    student = student_of(wild, calibration)
    with lessons_of(wild, calibration) as lessons:
        before = squared_error(student, lessons)
        costs = dict.fromkeys(quant_layers(student), 1e-9) | {WILD: 1.0}
        assert by_gain_for_cost(student, wild, lessons, before, costs)[0] != WILD


def test_the_error_has_to_be_smaller_at_smaller_scales():
    assert small_error(4) == pytest.approx(10**-5.1)
    assert small_error(2) == small_error(1) == pytest.approx(10**-5.56)


@pytest.mark.parametrize("keep", [True, False])
def test_policy_and_file_name_it(wild, calibration, tmp_path, keep):
    config = Distill(steps=2, batch=2, bound_rate=0.0, keep_sensitive=keep)
    quantized = quantize(wild, calibration, EIGHT_BITS, config)
    names = [override.pattern for override in quantized.policy.overrides]
    assert (WILD in names) == keep
    assert quantized.origin.options["keep_sensitive"] == keep
    save(freeze(quantized), tmp_path / "model.safetensors")
    loaded, images = load(tmp_path / "model.safetensors"), torch.rand(1, 3, 12, 13)
    assert loaded.policy == quantized.policy
    assert torch.equal(loaded.network(images), quantized.network(images))


@pytest.mark.parametrize(("bits", "kept"), [(8, True), (7, True), (4, False)])
def test_auto_keeps_them_at_many_bits(bits, kept):
    policy = Policy(LayerBits(bits, bits))
    assert Auto().learning(policy).keep_sensitive == kept
    assert not Auto(keep_sensitive=False).learning(policy).keep_sensitive
