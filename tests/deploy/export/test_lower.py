import pytest
import torch
from torch import nn

from srquant.deploy.export.lower import Layer, lowered
from srquant.deploy.frozen_leaves import FROZEN_LEAVES
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.graph.trace import graph_of
from srquant.models.load import build
from srquant.models.network import Facts, Network

NETWORKS = {
    "edsr": {"blocks": 1, "features": 16, "scale": 2},
    "carn": {"features": 16, "scale": 2, "groups": 4, "shared": True},
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "scale": 2, "window": 4},
}


@pytest.fixture(params=NETWORKS)
def frozen(request, freeze_by_policy) -> Network:
    kinds = ("conv", "linear", "matmul") if request.param == "swinir" else ("conv",)
    return freeze_by_policy(build(request.param, NETWORKS[request.param]), Policy(LayerBits(4, 4), kinds=kinds)).network


@torch.no_grad()
def test_our_operators_compute_the_same_bits(frozen):
    images = torch.rand(2, 3, 14, 18)
    assert torch.equal(lowered(graph_of(frozen, FROZEN_LEAVES), False)(images), frozen.module(images))


@torch.no_grad()
def test_the_network_stays_as_it_was_and_tensors_are_not_copied(frozen):
    kinds = [type(module) for module in frozen.modules()]
    graph = graph_of(frozen, FROZEN_LEAVES)
    result = lowered(graph, False)
    assert [type(module) for module in frozen.modules()] == kinds
    integers = {tensor.data_ptr() for tensor in frozen.buffers() if tensor.dtype == torch.int8}
    kept = {m.weight.data_ptr() for m in result.modules() if isinstance(m, Layer)}
    assert kept
    assert kept <= integers
    assert result is not graph


def test_a_layer_that_is_called_twice_stays_one_layer():
    conv = nn.Conv2d(3, 3, 3, padding=1)
    graph = graph_of(Network(nn.Sequential(conv, nn.ReLU(), conv), Facts("custom", 1, 1.0, (), ())))
    called = [node.target for node in lowered(graph, False).graph.nodes if node.op == "call_module"]
    assert len(called) == 2
    assert len({id(graph.get_submodule(name)) for name in called}) == 1
