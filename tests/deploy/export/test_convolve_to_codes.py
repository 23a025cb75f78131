"""Convolutions that give the next grid's integers."""

import pytest
import torch
from torch import nn

from srquant.deploy.export.convolve_to_codes import convolve_to_codes
from srquant.deploy.export.program import export_graph
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.network import Facts, Network

POLICIES = {
    "W2A2": Policy(LayerBits(2, 2)),
    "W3A5, two bounds": Policy(LayerBits(3, 5), symmetric_weights=False),
    "W4A4 per channel": Policy(LayerBits(4, 4), granularity="channel", activation_granularity="channel"),
    "W8A8, 8-bit skip": Policy(LayerBits(8, 8), skip_bits=8),
}
JOINED = {"edsr": (3, 2), "carn": (12, 10), "rnet": (3, 1)}
"""How many convolutions are joined, with grids per tensor and per channel; those cannot move before a shuffle."""


def joined(network):
    graph = export_graph(network)
    convolve_to_codes(graph)
    graph.recompile()
    return graph, sum(str(node.target).startswith("srquant.conv2d_to_codes") for node in graph.graph.nodes)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("architecture", ["edsr", "carn", "rnet"])
@torch.no_grad()
def test_the_picture_keeps_its_bits(tiny, freeze_by_policy, pictures, architecture, policy):
    network = freeze_by_policy(tiny(architecture), policy).network
    graph, count = joined(network)
    images = pictures(2, 17)
    assert torch.equal(graph(images), export_graph(network)(images))
    by_tensor, by_channel = JOINED[architecture]
    assert count == (by_channel if policy.activation_granularity == "channel" else by_tensor)


def chain(bias: float, lower: float = 0, relu: bool = True) -> Network:
    """Two convolutions, with a bias and a lower bound of the second grid in units of the first one's outputs."""
    unit, step = 2.0**-6, 31 * 2.0**-6  # no value lies on a tie
    bounds = torch.tensor([0.0, 1.5]), torch.tensor([lower * unit, lower * unit + 3 * step])
    grids = [FrozenGrid(*pair, 4) for pair in bounds]
    weight = torch.randint(-3, 4, (3, 3, 3, 3), dtype=torch.int8)
    scale, biases, window = torch.full((3,), 2 * unit), torch.full((3,), bias * unit), ((1, 1), (1, 1), (1, 1), 1)
    first, second = (FrozenConv2d(grid, weight, scale, biases, *window, 3) for grid in grids)
    return Network(nn.Sequential(first, *[nn.ReLU()][:relu], second), Facts("custom", 1, 1.0, (), ()))


@pytest.mark.parametrize(
    ("bias", "lower", "relu", "count"),
    [
        (3, 0, True, 1),
        (3, 0, False, 1),
        (3.5, 0, True, 0),
        (3, 40, True, 1),
        (3, -31, True, 1),
        (3, -31, False, 1),
        (3, -30, False, 1),
        (3, -30.5, False, 0),
        (3.5, -30.5, True, 1),
    ],
)
@torch.no_grad()
def test_only_biases_that_are_whole_units_from_the_offset_are_joined(pictures, bias, lower, relu, count):
    network, images = chain(bias, lower, relu), pictures(1, 15)
    graph, found = joined(network)
    assert found == count
    assert torch.equal(graph(images), network.module(images))
