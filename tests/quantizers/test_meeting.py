"""Which grids and layers need one lattice."""

import pytest
from torch import nn

from srquant.insertion.policy import LayerBits, Policy
from srquant.models.wrap import wrap
from srquant.quantizers.layers import quant_layers, quant_modules
from srquant.quantizers.meeting import everything, meetings

EIGHT_BITS = Policy(LayerBits(8, 8))


def named(network, groups):
    """The groups by names: of layers' results, and in brackets of the grids of what they read."""
    names = {id(quantizer): name for name, m in quant_modules(network).items() for quantizer in m.quantizers().values()}
    names |= {id(layer): name for name, layer in quant_layers(network).items()}
    return {
        frozenset([*(names[id(m)] for m in group.modules), *(f"({names[id(q)]})" for q in group.quantizers)])
        for group in groups
    }


def test_sums_join_and_layers_part(tiny, quantized):
    network = quantized(tiny("edsr"), EIGHT_BITS)
    stream = ["head.0", "body.0.body.2", "body.1.body.2", "body.2", "(body.0.body.0)", "(body.1.body.0)", "(body.2)"]
    assert named(network, meetings(network)) == {
        frozenset(["(head.0)"]),
        frozenset([*stream, "(tail.0.0)"]),
        frozenset(["body.0.body.0", "(body.0.body.2)"]),
        frozenset(["body.1.body.0", "(body.1.body.2)"]),
        frozenset(["tail.0.0", "(tail.1)"]),
        frozenset(["tail.1"]),
    }


class Two(nn.Module):
    """Two layers with a step between them."""

    def __init__(self, step):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.step = step

    def forward(self, x):
        y = self.a(x)
        return self.c(self.b(self.step(y)))


class Gate(nn.Module):
    def forward(self, x):
        return x * (x.abs() + 1)


@pytest.mark.parametrize(
    ("step", "meets"),
    [
        (nn.ReLU(), True),
        (nn.Sequential(nn.PixelShuffle(1), nn.Identity()), True),
        (nn.Sigmoid(), False),
        (nn.LeakyReLU(0.1), False),
        (nn.SiLU(), False),
        (Gate(), False),
    ],
)
def test_steps_that_leave_the_lattice_part(quantized, step, meets):
    network = quantized(wrap(Two(step), 1), EIGHT_BITS)
    groups = named(network, meetings(network))
    assert (frozenset(["a", "(b)"]) in groups) == meets
    assert (frozenset(["a"]) in groups) != meets
    assert frozenset(["b", "(c)"]) in groups


class ByValue(nn.Module):
    def forward(self, x):
        return x if bool(x.sum() > 0) else -x


def test_a_network_that_cannot_be_traced_is_one_group(quantized):
    network = quantized(wrap(Two(nn.ReLU()), 1), EIGHT_BITS)
    network.module.set_submodule("step", ByValue())
    assert named(network, meetings(network)) == {frozenset(["a", "b", "c", "(a)", "(b)", "(c)"])}
    assert named(network, meetings(network)) == named(network, [everything(network)])
