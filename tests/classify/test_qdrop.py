import pytest
import torch

from srquant.classify.insert import initialise_steps, insert_quantizers
from srquant.classify.layers import mix
from srquant.classify.qdrop import set_quantize_probability
from srquant.classify.resnet import folded
from srquant.classify.units import block_units


@pytest.fixture
def unit_and_networks(network, images):
    """A unit with quantized weights and activations, one whose activations are off, and what goes into them."""
    teacher = folded(network)
    student, weights_only = insert_quantizers(teacher, 3, (3,)), insert_quantizers(teacher, 3, (3,))
    initialise_steps(student, images)
    unit = block_units(student)[2]
    unit.switch_on(student, weights=True, activations=True)
    unit.switch_on(weights_only, weights=True)
    return unit, student, weights_only, torch.randn(4, 4, 6, 6).relu()


def test_dropping_all_quantization_leaves_activations_float(unit_and_networks):
    unit, student, weights_only, x = unit_and_networks
    set_quantize_probability(unit, student, 0.0)
    assert torch.equal(unit.run(student)(x), unit.run(weights_only)(x))


def test_dropping_nothing_is_the_deterministic_path(unit_and_networks):
    unit, student, weights_only, x = unit_and_networks
    deterministic = unit.run(student)(x)
    set_quantize_probability(unit, student, 1.0)
    assert torch.equal(unit.run(student)(x), deterministic)
    assert not torch.equal(deterministic, unit.run(weights_only)(x))


def test_half_of_the_elements_are_quantized():
    ones = mix(torch.ones(400, 500), torch.zeros(400, 500), 0.5)
    assert set(ones.unique().tolist()) == {0.0, 1.0}
    assert ones.mean() == pytest.approx(0.5, abs=0.01)


def test_inside_a_unit_half_of_the_elements_are_quantized(unit_and_networks):
    unit, student, _, _ = unit_and_networks
    relu = student.get_submodule(f"{unit.names[0]}.relu1")
    x = torch.rand(1, 4, 200, 200) * relu.quantizers[0].step.item() * 7
    points = relu(x)
    set_quantize_probability(unit, student, 0.5)
    assert (relu(x) == points).float().mean() == pytest.approx(0.5, abs=0.01)


def test_mixing_takes_each_element_from_one_of_the_two():
    quantized, plain = torch.rand(50, 50), torch.rand(50, 50) + 2
    mixed = mix(quantized, plain, 0.5)
    assert ((mixed == quantized) | (mixed == plain)).all()
    assert torch.equal(mix(quantized, plain, 0.0), plain)
    assert torch.equal(mix(quantized, plain, 1.0), quantized)
