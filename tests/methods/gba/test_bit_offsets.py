"""Bits that are learned."""

import math

import pytest
import torch

from srquant.methods.gba.bit_offsets import MeanGradients, learnable_bits, theta
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.dan import DANQuantizer


def test_theta_is_rounded_with_the_gradient_of_tanh():
    offset = torch.tensor(0.8, requires_grad=True)
    value = theta(offset)
    value.backward()
    assert value.item() == 1.0
    assert offset.grad.item() == pytest.approx(1 - math.tanh(0.8) ** 2)


def test_gradient_of_one_quantizer_is_its_squared_error():
    """GBA: for half the squared error it is ``-|e|^2 ln 2 2^b / (2^b - 1)``, smaller where bits are many."""
    x = torch.rand(1000)
    found = []
    for bits in range(2, 8):
        quantizer = ActivationQuantizer(torch.tensor(0.0), torch.tensor(1.0), bits)
        error = (quantizer(x) - x).detach()
        with learnable_bits([quantizer]) as (offset,):
            (0.5 * (quantizer(x) - x).square().sum()).backward()
        found.append(offset.grad.item())
        expected = -error.square().sum() * math.log(2) * 2**bits / (2**bits - 1)
        assert found[-1] == pytest.approx(float(expected), rel=1e-4)
    assert found == sorted(found)
    assert found[-1] < 0


def test_offsets_change_bits_only_inside_the_context():
    x = torch.linspace(-1, 1, 400)
    quantizers = [
        ActivationQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 3),
        WeightQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 3, symmetric=False),
        DANQuantizer(3, 1),
    ]
    inputs = [x, x, x.reshape(1, 1, 20, 20)]
    before = [quantizer(values) for quantizer, values in zip(quantizers, inputs, strict=True)]
    with learnable_bits(quantizers) as offsets:
        assert all(offset.item() == 0 for offset in offsets)
        for quantizer, values, offset, points in zip(quantizers, inputs, offsets, before, strict=True):
            assert torch.equal(quantizer(values), points)
            offset.data.fill_(-1.2)
            assert len(quantizer(values).unique()) == 4
    for quantizer, values, points in zip(quantizers, inputs, before, strict=True):
        assert torch.equal(quantizer(values), points)


def test_means_of_gradients_count_every_step():
    offsets = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
    gradients = MeanGradients(offsets)
    for slope in (1.0, 2.0, 6.0):
        (slope * offsets[0]).backward()
        gradients.add()
    assert gradients.means() == [3.0, 0.0]


def test_each_quantizer_has_one_offset_whatever_its_bounds():
    per_channel = WeightQuantizer(None, torch.ones(3, 1, 1, 1), 4, symmetric=True)
    with learnable_bits([per_channel]) as (offset,):
        assert offset.shape == ()
