"""Gradients of bounds are scaled while learning, by hand."""

import pytest
import torch

from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.ptq4sr.lsq_gradients import count_activations, scaled_gradients
from srquant.quantizers.layers import activation_quantizers, quant_layers


@pytest.mark.parametrize(("bits", "last"), [(2, 1), (3, 3), (5, 15), (8, 127)])
def test_scales_by_hand(teacher, quantized, pictures, bits, last):
    """Two pictures of 8 channels, 14 x 14 with padding; 8 x 8 x 3 x 3 weights. Twice a bound has the gradient 2."""
    student = quantized(teacher, Policy(LayerBits(bits, bits)))
    layer = quant_layers(student)["body.0.body.0"]
    bounds = layer.input_quantizer.upper, layer.weight_quantizer.upper
    with scaled_gradients(student, pictures(2)):
        (2 * sum(bounds)).backward()
    expected = [2 / (count * last) ** 0.5 for count in (2 * 8 * 14 * 14, 8 * 8 * 9)]
    assert [float(bound.grad) for bound in bounds] == pytest.approx(expected)


@torch.no_grad()
def test_nothing_is_counted_afterwards(teacher, quantized, pictures):
    student = quantized(teacher, Policy(LayerBits(4, 4)))
    counts = count_activations(student, pictures(1))
    before = dict(counts)
    student(pictures(3))
    assert counts == before
    assert set(counts) == set(activation_quantizers(student).values())
