"""Where sums go."""

import torch
from torch import nn

from srquant.insertion.residual_graph import ResidualGraph, inner_sums, trace_residual_graph
from srquant.models.blocks.layers import Add
from srquant.models.wrap import wrap


def test_edsr(tiny):
    network = tiny("edsr")
    graph = trace_residual_graph(network)
    assert graph == ResidualGraph(
        reads={"body.1.body.0": "body.0.add", "body.2": "body.1.add", "tail.0.0": "add"},
        addend_readers={"body.0.add": "body.0.body.0", "body.1.add": "body.1.body.0", "add": "body.0.body.0"},
        next={
            "body.0.body.0": "body.0.body.2",
            "body.0.body.2": "body.0.add",
            "body.1.body.0": "body.1.body.2",
            "body.1.body.2": "body.1.add",
            "body.2": "add",
            "tail.0.0": "tail.1",
        },
    )
    assert inner_sums(network, graph) == ["body.0.add", "body.1.add", "add"]


def test_rnet_sums_are_rectified(tiny):
    graph = trace_residual_graph(tiny("rnet"))
    assert graph.rectified == {"blocks.0.add", "blocks.1.add"}
    assert graph.reads == {"blocks.1.body.0": "blocks.0.add", "upsample.up.body.0": "add"}
    assert graph.last == set()


def test_carn_sums_are_rectified_and_read_by_concatenations(tiny):
    graph = trace_residual_graph(tiny("carn"))
    assert graph.rectified == {f"b{i}.b{j}.add" for i in (1, 2, 3) for j in (1, 2, 3)}
    assert graph.reads == {}


def test_sums_that_make_the_picture_stay_out(tiny):
    network = tiny("msrresnet")
    graph = trace_residual_graph(network)
    assert graph.last == {"add"}
    assert inner_sums(network, graph) == ["body.0.add", "body.1.add"]
    compact = tiny("compact")
    assert inner_sums(compact, trace_residual_graph(compact)) == []


class Branches(nn.Module):
    """Its graph depends on the picture, so that it can't be traced."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.add = Add()

    def forward(self, x):
        return self.add(x, self.conv(x)) if x.mean() > 0 else self.conv(x)


def test_networks_that_cannot_be_traced_have_an_empty_graph():
    assert trace_residual_graph(wrap(Branches(), 1)) == ResidualGraph()


class Twice(nn.Module):
    """One layer reads a sum first and something else later."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.again = nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Conv2d(3, 3, 3, padding=1)
        self.add = Add()

    def forward(self, x):
        y = self.first(x)
        y = self.again(self.add(x, y))
        return self.last(self.again(100 * y))


def test_layer_that_reads_a_sum_only_sometimes_does_not_count():
    assert trace_residual_graph(wrap(Twice(), 1)).reads == {}


class Both(nn.Module):
    """A sum that is read with and without a ReLU."""

    def __init__(self):
        super().__init__()
        self.first, self.second = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(2))
        self.add, self.relu = Add(), nn.ReLU()

    def forward(self, x):
        total = self.add(x, self.first(x))
        return self.second(self.relu(total)) + total


def test_sum_with_a_reader_beside_the_relu_is_not_rectified():
    graph = trace_residual_graph(wrap(Both(), 1))
    assert graph.rectified == set()
    assert graph.reads == {}
    assert torch.is_tensor(Both()(torch.rand(1, 3, 4, 4)))
