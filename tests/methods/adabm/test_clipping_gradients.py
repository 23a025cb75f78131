"""Gradients of bounds as Eq. 8 and 9 print them."""

import pytest
import torch

from srquant.grids.range_rules import minmax, symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.methods.adabm.clipping_gradients import clipping_gradients
from srquant.quantizers.layers import quant_layers

LAYER = "body.0.body.0"


@pytest.fixture
def student(tiny):
    network, images = tiny("edsr"), torch.rand(2, 3, 10, 10)
    plan = resolve(network, Policy())
    bounds = activation_bounds(network, plan, [images], Collection(minmax, None))
    return insert_quantizers(network, plan, bounds, symmetric_max)


@pytest.fixture
def layer(student):
    return quant_layers(student)[LAYER]


def test_only_clipped_activations_move_their_bound(student, layer):
    """Between the bounds -1 and 2, 15 steps of 0.2: two values are below, three above, the others are off the grid."""
    quantizer = layer.input_quantizer
    quantizer.lower.data.fill_(-1.0)
    quantizer.upper.data.fill_(2.0)
    x = torch.tensor([-3.0, -1.1, -1.0, 0.13, 0.57, 2.0, 2.5, 3.0, 7.0], requires_grad=True)
    plain = quantizer(x)
    with clipping_gradients(student):
        points = quantizer(x)
        points.sum().backward()
    assert torch.equal(points, plain)
    assert (quantizer.lower.grad.item(), quantizer.upper.grad.item()) == (2, 3)
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0]


def test_each_weight_beyond_the_bound_counts_once_whatever_its_sign(student, layer):
    quantizer = layer.weight_quantizer
    quantizer.upper.data.fill_(1.0)
    weight = torch.tensor([-3.0, -1.5, -0.4, 0.3, 1.0, 1.2])
    plain = quantizer(weight)
    with clipping_gradients(student):
        points = quantizer(weight)
        (points * torch.tensor([1.0, 10.0, 100.0, 100.0, 100.0, 2.0])).sum().backward()
    assert torch.equal(points, plain)
    assert quantizer.upper.grad.item() == 13


def test_a_whole_layer_learns_by_them_and_only_in_the_context(student, layer):
    """Of a layer without clipped values no bound moves; outside of the context rounding errors move them again."""
    student.requires_grad_(False)
    images = torch.rand(1, 3, 10, 10) * 0.5 + 0.25
    bounds = layer.input_quantizer.lower, layer.input_quantizer.upper, layer.weight_quantizer.upper
    for bound in bounds:
        bound.data.mul_(1.5)
        bound.requires_grad_(True)
    with clipping_gradients(student):
        printed = torch.autograd.grad(student(images).square().sum(), bounds)
    plain = torch.autograd.grad(student(images).square().sum(), bounds)
    assert [gradient.item() for gradient in printed] == [0, 0, 0]
    assert all(gradient != 0 for gradient in plain)


def test_constant_bounds_leave_the_gradient_in_bits_alone(student, layer):
    student.requires_grad_(False)
    bits = torch.tensor(4.0, requires_grad=True)
    x = torch.rand(20) * 2 - 1
    with clipping_gradients(student):
        printed = torch.autograd.grad(layer.input_quantizer(x, bits).sum(), bits)
    assert printed == torch.autograd.grad(layer.input_quantizer(x, bits).sum(), bits)
