"""The gate and the bounds that it moves, by hand."""

import math

import pytest
import torch
from torch import nn

from srquant.methods.ddtb.gate import DynamicGate, GatedQuantizer, TernaryLinear
from srquant.quantizers.base import ActivationQuantizer


class Answer(nn.Module):
    """A gate that gives the same for every sample, and keeps what it saw."""

    def __init__(self, *output: float) -> None:
        super().__init__()
        self.output = torch.tensor(output)

    def forward(self, means: torch.Tensor) -> torch.Tensor:
        self.means = means
        return self.output.expand(len(means), 2)


def test_ternary_weights():
    layer = TernaryLinear(3, 1, bias=False)
    layer.weight.data.copy_(torch.tensor([[0.4, -1.2, 2.0]]))
    assert layer(torch.eye(3)).flatten().tolist() == [0.0, -2.0, 2.0]


def test_shapes_of_a_gate():
    shapes = {name: tuple(parameter.shape) for name, parameter in DynamicGate(5).layers.named_parameters()}
    assert shapes == {"0.weight": (32, 5), "1.weight": (32,), "1.bias": (32,), "3.weight": (2, 32)}


def test_bounds_that_would_cross_stay_a_thousandth_of_their_distance_apart():
    """Twice the sigmoid of -ln 9 is 0.2, of 0 it is 1: 1..2 would become 1..0.4."""
    gated = GatedQuantizer(3, channels=5)
    gated.lower.data.fill_(1.0)
    gated.upper.data.fill_(2.0)
    gated.gate = Answer(-math.log(9), 0.0)
    lower, upper = gated.bounds(torch.zeros(1, 5, 2, 2))
    assert (lower.item(), upper.item()) == pytest.approx((1.0, 1.001))


@pytest.mark.parametrize(
    ("shape", "channel_axis", "axes"), [((2, 5, 3, 4), 1, (2, 3)), ((2, 3, 5), -1, 1), ((2, 3, 4, 5), -1, (1, 2))]
)
def test_the_gate_sees_the_mean_of_each_channel(shape, channel_axis, axes):
    gated, x = GatedQuantizer(3, channels=5, channel_axis=channel_axis), torch.rand(shape)
    gated.gate = Answer(0.0, 0.0)
    gated(x)
    assert torch.equal(gated.gate.means, x.mean(axes))


def test_a_closed_quantizer_is_a_plain_one():
    gated = GatedQuantizer(3, channels=5)
    gated.open = False
    assert type(gated.deployable()) is ActivationQuantizer


@pytest.mark.parametrize(("bits", "channels", "channel_axis"), [(9, 5, 1), (1, 5, 1), (4, 0, 1), (4, 5, 0)])
def test_impossible_settings_are_refused(bits, channels, channel_axis):
    assert [GatedQuantizer(possible, channels=1).levels for possible in (2, 8)] == [4, 256]
    with pytest.raises(ValueError, match="channel_axis"):
        GatedQuantizer(bits, channels, channel_axis)
