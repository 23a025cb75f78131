"""Every unit gets its input from units that are already reconstructed, and never ends worse than nearest rounding."""

from dataclasses import fields, replace

import pytest
import torch

from srquant.classify import adaround, brecq, ptmq, qdrop
from srquant.classify.insert import insert_quantizers
from srquant.classify.layers import QuantReLU
from srquant.classify.reconstruct import reconstruct
from srquant.classify.resnet import folded
from srquant.classify.rounding import AdaptiveRounding
from srquant.classify.units import block_units, captured, examples_of, layer_units
from srquant.insertion.policy import LayerBits

BITS = LayerBits(3, 3)
FEW = 6
RUNS = {
    "adaround": (adaround, adaround.AdaRound(FEW, 0.1, 8, activation_iterations=FEW, step_rate=0.01)),
    "brecq": (brecq, brecq.BRECQ(FEW, FEW, 0.1, 0.01, 8, reconstruct_first=True)),
    "brecq_fisher": (brecq, brecq.BRECQ(FEW, FEW, 0.1, 0.01, 8, loss="fisher_diag")),
    "qdrop": (qdrop, qdrop.QDrop(FEW, 0.5, 0.1, 0.01, 8)),
    "ptmq": (ptmq, ptmq.PTMQ(FEW, (3, 5, 7), rounding_rate=0.1, batch=8)),
}


@pytest.mark.parametrize("name", RUNS)
def test_units_are_fed_by_finished_units(name, monkeypatch, network, images):
    module, config = RUNS[name]
    seen = []

    def spy(unit, teacher, student, pictures):
        examples = examples_of(unit, teacher, student, pictures)
        seen.append((unit, any(relu.quantize for relu in relus(student)), examples))
        return examples

    for source in (brecq, qdrop, ptmq):
        monkeypatch.setattr(source, "examples_of", spy)
    student = module.quantize(network, images, BITS, config)
    assert_units_in_order(name, [unit for unit, *_ in seen], network)
    roundings = [module for module in student.modules() if isinstance(module, AdaptiveRounding)]
    assert len(roundings) == 21
    assert not any(rounding.soft for rounding in roundings)
    for unit, with_activations, examples in seen:
        assert torch.equal(examples.quantized_input, input_of(unit, student, with_activations, images)), unit
        plain, target = captured(unit, folded(network), images)
        assert torch.equal(examples.float_input, plain)
        assert torch.equal(examples.target, target)


def assert_units_in_order(name, units, network):
    """Weights come before activations if these are learned separately; BRECQ's first layer is not learned."""
    weights = layer_units(network) if name == "adaround" else block_units(network)
    if name == "brecq_fisher":
        weights = weights[1:]
    activations = [] if name in ("qdrop", "ptmq") else block_units(network)
    assert units == weights + activations


def input_of(unit, student, with_activations, images):
    """A unit's input in the finished network, whose weights stage had no quantized activations."""
    for module in student.modules():
        if isinstance(module, QuantReLU):
            module.quantize = with_activations
        elif isinstance(module, ptmq.FeatureMixer):
            module.fused = True
    return captured(unit, student, images)[0]


def relus(student):
    return [module for module in student.modules() if isinstance(module, QuantReLU)]


@pytest.mark.parametrize("rate", [0.1, 30.0])
@pytest.mark.parametrize("name", RUNS)
def test_the_kept_solution_is_no_worse_than_nearest_rounding(name, rate, monkeypatch, network, images):
    module, config = RUNS[name]
    found = []

    def spy(learner, count, schedule, loss, error, *report):
        nearest = error()
        reconstruct(learner, count, schedule, loss, error, *report)
        found.append((nearest, error()))

    for source in (adaround, brecq, qdrop, ptmq):
        if hasattr(source, "reconstruct"):
            monkeypatch.setattr(source, "reconstruct", spy)
    rates = {field.name: rate for field in fields(config) if field.name in ("rounding_rate", "step_rate")}
    module.quantize(network, images, BITS, replace(config, **rates))
    assert len(found) >= 8
    assert all(kept <= nearest for nearest, kept in found)


def test_learning_beats_nearest_rounding(network, images):
    teacher = folded(network)
    nearest = brecq.quantize(network, images, BITS, brecq.BRECQ(1, 1, 0.0, 0.0, 8))
    learned = brecq.quantize(network, images, BITS, brecq.BRECQ(40, 20, 0.05, 0.01, 16))
    errors = [(n(images) - teacher(images)).square().mean() for n in (learned, nearest)]
    assert errors[0] < 0.8 * errors[1]


def test_the_same_seed_gives_the_same_network(network, images):
    config = qdrop.QDrop(FEW, rounding_rate=0.1, batch=8)
    first = qdrop.quantize(network, images, BITS, config)
    torch.rand(3)
    assert torch.equal(first(images), qdrop.quantize(network, images, BITS, config)(images))


def test_fisher_weights_have_mean_one_and_follow_the_output(network, images):
    teacher = folded(network)
    student = insert_quantizers(teacher, 3, (3,))
    unit = block_units(student)[4]
    unit.switch_on(student, weights=True)
    weights = brecq.fisher(unit, teacher, student, images, 0.0)
    assert weights.shape == captured(unit, teacher, images)[1].shape
    assert weights.mean() == pytest.approx(1, rel=1e-4)
    assert weights.max() > 10
    assert brecq.fisher(unit, teacher, student, images, 1.0).max() < 2


def test_first_and_last_layers_have_eight_bits(network):
    student = insert_quantizers(folded(network), 3, (4,))
    bits = {
        name: student.get_submodule(name).bits for name in ("conv1", "layer1.0.conv1", "layer4.0.downsample.0", "fc")
    }
    assert bits == {"conv1": 8, "layer1.0.conv1": 3, "layer4.0.downsample.0": 3, "fc": 8}
    relus = {n: m.quantizers[0].bits for n, m in student.named_modules() if isinstance(m, QuantReLU)}
    assert relus.pop("relu") == relus.pop("layer4.1.relu2") == 8
    assert set(relus.values()) == {4}
    assert len(relus) == 15
