"""Operations against the numbers that papers state, and against counting by hand."""

import pytest
import torch
from torch import Tensor, nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.errors import PolicyError
from srquant.measure.cost.formulas import (
    LayerCost,
    bit_ops,
    count_macs,
    feature_average_bits,
    matrix_products,
    mean_activation_bits,
    mean_weight_bits,
    weighted_layers,
)
from srquant.measure.cost.layer_costs import layer_costs
from srquant.models.architectures import edsr
from srquant.models.load import build
from srquant.models.network import Facts, Network

EDSR = Network(edsr.EDSR(16, 64, 4), edsr.facts(16, 64, 4))
EDGES = EDSR.facts.head + EDSR.facts.tail


def network(module: nn.Module) -> Network:
    return Network(module, Facts("custom", 1, 1.0, (), ()))


def test_operations_of_float_edsr():
    macs = count_macs(EDSR, weighted_layers(EDSR), 48, 48)
    layers = [LayerCost(name, macs[name], 0) for name in macs]
    assert bit_ops(layers) == 2 * 1_983_168 * 2304 * 1024


def test_operations_grow_with_the_area():
    small, large = (sum(count_macs(EDSR, EDGES, *size).values()) for size in [(4, 6), (8, 18)])
    assert large == 6 * small


def test_bit_operations_multiply_both_widths():
    layers = [LayerCost("a", 10, 1, 4, 2), LayerCost("b", 3, 1)]
    assert bit_ops(layers) == 2 * 10 * 4 * 2 + 2 * 3 * 32 * 32


def test_mean_shifts_and_inner_layers_are_not_listed():
    names = weighted_layers(EDSR)
    assert len(names) == 37
    assert not [n for n in names if "mean" in n]


class Twice(nn.Module):
    """One layer used twice, one never, on the channels of a picture."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.idle = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.again(x))


def test_layers_used_twice_count_twice_and_idle_ones_nothing():
    assert count_macs(network(Twice()), ["again", "idle"], 5, 7) == {"again": 2 * 5 * 7 * 3 * 3 * 9, "idle": 0}


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("module", "name", "macs"),
    [
        (nn.Sequential(nn.Conv2d(3, 12, 3, stride=2, padding=1, groups=3)), "0", 3 * 4 * 12 * 9),
        (nn.Sequential(nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1)), "0", 5 * 7 * 3 * 5 * 16),
        (Linear(), "layer", 5 * 7 * 3 * 11),
    ],
    ids=["strided grouped", "transposed", "linear"],
)
def test_counting_by_hand(module, name, macs):
    assert count_macs(network(module), [name], 5, 7) == {name: macs}


def test_products_of_two_activations_count():
    """Two heads of 4x4 windows: 2 * 16 rows * 16 columns * 4 values and back, twice in each of two blocks."""
    net = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "window": 4, "scale": 2})
    names = matrix_products(net)
    assert len(names) == 4
    windows = (8 // 4 + 1) * (12 // 4 + 1)  # SwinIR extends every picture
    assert count_macs(net, names, 8, 12) == dict.fromkeys(names, windows * 2 * 16 * 16 * 4)
    costs = {cost.name: cost for cost in layer_costs(net, 8, 12)}
    assert costs.keys() == {*weighted_layers(net), *names}
    assert all(costs[name].weight_count == 0 for name in names)


def test_frozen_layers_count_like_float_ones():
    grid = FrozenGrid(torch.tensor(0.0), torch.tensor(1.0), 16)
    weight = torch.ones(8, 3, 3, 3, dtype=torch.int8)
    frozen = FrozenConv2d(grid, weight, torch.ones(8), None, (1, 1), (1, 1), (1, 1), 1, 4)
    net = network(nn.Sequential(frozen))
    assert weighted_layers(net) == ["0"]
    assert count_macs(net, ["0"], 5, 7) == {"0": 5 * 7 * 3 * 8 * 9}


def test_layers_inside_a_layer_are_not_listed():
    outer = nn.Conv2d(3, 3, 1)
    outer.inner = nn.Conv2d(3, 3, 1)
    assert weighted_layers(network(nn.Sequential(outer))) == ["0"]


def test_counting_leaves_no_hooks():
    count_macs(EDSR, EDGES, 4, 4)
    assert not any(m._forward_hooks for m in EDSR.modules())


def test_unknown_layers_are_named():
    with pytest.raises(PolicyError, match=r"no layer 'heda.0': did you mean 'head.0'"):
        count_macs(EDSR, ["heda.0"], 4, 4)
    with pytest.raises(PolicyError, match="'body' is neither a convolution nor a linear layer"):
        count_macs(EDSR, ["body"], 4, 4)


def test_feature_average_leaves_out_float_layers_and_both_ends():
    def layers(*bits: float) -> list[LayerCost]:
        return [LayerCost(str(i), 10**i, 1, 4, b) for i, b in enumerate(bits)]

    assert feature_average_bits(layers(8, 32, 2, 4, 3.5), {"0"}) == pytest.approx(9.5 / 3)
    assert feature_average_bits(layers(8, 8, 7, 6), {"0"}) == 7
    assert feature_average_bits(layers(8, 8, 32), {"0", "1"}) == 8
    assert feature_average_bits(layers(32, 32), set()) is None


def test_weighted_means():
    layers = [LayerCost("a", 30, 1, 4, 2), LayerCost("b", 10, 3, 8, 6)]
    assert mean_activation_bits(layers) == (30 * 2 + 10 * 6) / 40
    assert mean_weight_bits(layers) == (4 + 3 * 8) / 4
