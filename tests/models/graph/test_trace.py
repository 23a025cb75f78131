"""Graphs of networks: native ones of one structure share a trace, and never their weights."""

import pytest
import torch
from torch import Tensor, nn

from srquant.models.graph import trace
from srquant.models.graph.trace import graph_of
from srquant.models.load import build
from srquant.models.network import Facts, Network

SMALL = {
    "edsr": {"blocks": 1, "features": 8, "scale": 2},
    "carn": {"features": 16, "scale": 2, "groups": 4, "shared": True},
}


@pytest.fixture(autouse=True)
def traces(monkeypatch):
    """Networks that are traced, and nothing kept from other tests."""
    traced = []
    once = trace._traced
    monkeypatch.setattr(trace, "_kept", {})
    monkeypatch.setattr(trace, "_traced", lambda network, leaves: traced.append(network) or once(network, leaves))
    return traced


@pytest.mark.parametrize("name", ["edsr", "carn"])
@torch.no_grad()
def test_networks_of_one_structure_are_traced_once_and_keep_their_weights(traces, name):
    networks = [build(name, SMALL[name]).eval() for _ in range(2)]
    images = torch.rand(1, 3, 12, 16)
    results = [graph_of(network)(images) for network in networks]
    assert len(traces) == 1
    assert not torch.equal(*results)
    for network, result in zip(networks, results, strict=True):
        assert torch.equal(result, network.module(images))


@torch.no_grad()
def test_weights_that_change_later_are_the_graph_s_too():
    network = build("edsr", SMALL["edsr"]).eval()
    graph, images = graph_of(network), torch.rand(1, 3, 12, 16)
    network.module.head[0].weight.mul_(2)
    assert torch.equal(graph(images), network.module(images))


def test_other_arguments_need_another_trace(traces):
    graph_of(build("edsr", SMALL["edsr"]).eval())
    graph_of(build("edsr", {**SMALL["edsr"], "blocks": 2}).eval())
    assert len(traces) == 2


class Scaled(nn.Module):
    """Two of these have the same layers, but don't compute the same."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return images * self.factor


@torch.no_grad()
def test_graphs_of_other_networks_are_not_kept(traces):
    images = torch.rand(1, 3, 8, 8)
    for factor in (2.0, 3.0):
        graph = graph_of(Network(Scaled(factor), Facts("custom", 1, 1.0, (), ())))
        assert torch.equal(graph(images), images * factor)
    assert len(traces) == 2


class Shared(nn.Module):
    """A layer that is called twice, and a sum of one value with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(self.conv(images))
        return x + x


@torch.no_grad()
def test_a_shared_layer_stays_one_layer():
    network, images = Network(Shared(), Facts("custom", 1, 1.0, (), ())), torch.rand(1, 3, 8, 8)
    graph = graph_of(network)
    assert torch.equal(graph(images), network.module(images))
    assert [node.target for node in graph.graph.nodes if node.op == "call_module"] == ["conv", "conv"]
