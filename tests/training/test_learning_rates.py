"""Learning rates that fit the size of what learns."""

import pytest
import torch
from torch import nn

from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.trained_registry import TRAINED
from srquant.training.learning_rates import limited_rate, limited_rates
from srquant.training.network_parameters import network_parameters


def test_rates_are_limited_for_small_tensors_alone():
    large, small, zero = (nn.Parameter(torch.full((3, 3), value)) for value in (-1.0, 0.0004, 0.0))
    rates = limited_rates([large, small, zero], 2e-4, 0.01)
    assert [rate.learning_rate for rate in rates] == pytest.approx([2e-4, 4e-6, 2e-4])
    assert [list(rate.parameters) for rate in rates] == [[large], [small], [zero]]


def test_a_step_of_adam_moves_no_tensor_by_more():
    parameter = nn.Parameter(torch.tensor([4e-4, -4e-4]))
    optimizer = torch.optim.Adam([parameter], limited_rate(parameter, 1e-4, 0.01))
    (1000 * parameter.sum()).backward()
    optimizer.step()
    assert torch.allclose(parameter.detach().abs(), torch.tensor([0.99, 1.01]) * 4e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["dorefa", "pams", "daq", "ddtb", "odm", "cadyq"])
def test_methods_keep_the_published_rate_unless_told_otherwise(name, teacher):
    bits = LayerBits(8, 8) if name == "cadyq" else LayerBits(4, 4)
    crops = [torch.rand(2, 3, 12, 12)]

    def rates_of_weights(**options):
        method = TRAINED[name]
        student = method.prepare(teacher, crops, Policy(bits, None, None), method.config(**options), 10)
        own = {id(parameter) for parameter in network_parameters(student.network)}
        return [(p, rate.learning_rate) for rate in student.rates() for p in rate.parameters if id(p) in own]

    published = {rate for _, rate in rates_of_weights()}
    assert published == {TRAINED[name].config().learning_rate}
    limited = rates_of_weights(most_change=1e-6)
    assert all(rate == pytest.approx(1e-6 * p.abs().mean().item()) for p, rate in limited if p.abs().mean() > 0)
