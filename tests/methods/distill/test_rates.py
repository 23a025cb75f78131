"""Learning rates in units of each tensor's size."""

import pytest
import torch

from srquant.insertion.policy import Policy
from srquant.methods.distill.rates import SMALLEST_SIZE, own_size_rates, size
from srquant.quantizers.layers import quant_layers


def test_size_is_the_root_mean_square():
    assert size(torch.tensor([3.0, -4.0])) == pytest.approx(12.5**0.5)
    assert size(torch.zeros(3)) == SMALLEST_SIZE


def test_every_parameter_learns_at_its_own_size(tiny, quantized):
    network = quantized(tiny("edsr"), Policy())
    rates = {id(p): rate.learning_rate for rate in own_size_rates(network, 0.1, 0.02) for p in rate.parameters}
    assert set(rates) == {id(parameter) for parameter in network.parameters()}
    for layer in quant_layers(network).values():
        assert rates[id(layer.weight)] == pytest.approx(0.1 * size(layer.weight))
        assert rates[id(layer.weight_quantizer.upper)] == pytest.approx(0.02 * float(layer.weight_quantizer.width()))
