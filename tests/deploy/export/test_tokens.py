"""Attention in exported graphs: bytes move instead of floats, and what the graph computes stays the same."""

import pytest
import torch
from torch import nn

from srquant.deploy.export.graph_tools import aten, ours
from srquant.deploy.export.program import export_graph
from srquant.deploy.export.tokens.moves import move_bytes
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.load import build

KINDS = ("conv", "linear", "matmul")
MOVES = (aten.view.default, aten.permute.default, aten.clone.default, aten.roll.default)


@pytest.fixture(params=[4, 8])
def graphs(request, freeze_by_policy):
    """The graph of a small SwinIR, as engines get it, before and after the rewrites."""
    torch.manual_seed(0)
    network = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "scale": 2, "window": 4})
    for name, parameter in network.named_parameters():
        if name.endswith("bias_table"):
            nn.init.normal_(parameter)
    frozen = freeze_by_policy(network, Policy(LayerBits(request.param, request.param), kinds=KINDS)).network
    before, after = export_graph(frozen), export_graph(frozen)
    move_bytes(after)
    return request.param, before, after


def sources(graph, target):
    return [node.all_input_nodes[0] for node in graph.graph.find_nodes(op="call_function", target=target)]


@torch.no_grad()
def test_rewritten_attention_computes_the_same(graphs):
    """Bit for bit, as heads have 4 channels: the factor of queries, which becomes part of their step, is 0.5."""
    _, before, after = graphs
    for shape in ((1, 3, 13, 9), (2, 3, 8, 12)):
        images = torch.rand(shape)
        assert torch.equal(after(images), before(images))


def test_nothing_is_moved_before_it_is_quantized(graphs):
    _, before, after = graphs
    quantizers = (ours.quantize.default, ours.quantize_operand.default)
    assert any(source.target in MOVES for quantizer in quantizers for source in sources(before, quantizer))
    assert not any(source.target in MOVES[1:] for quantizer in quantizers for source in sources(after, quantizer))


def test_queries_keys_and_values_are_quantized_at_once(graphs):
    bits, before, after = graphs
    splits = sources(after, aten.split_with_sizes.default)
    assert len(splits) == len(sources(before, aten.split_with_sizes.default)) == 2
    wanted = [aten.view.default] if bits == 8 else [aten.view.default, ours.quantize_channels.default]
    assert all(split.target in wanted for split in splits)
    if bits == 8:
        assert len(sources(after, ours.quantize_operand.default)) == 2  # weights of attention


def test_linear_layers_read_lists_and_windows_are_gathered(graphs):
    _, _, after = graphs
    shapes = shapes_of(after)
    linears = after.graph.find_nodes(op="call_function", target=ours.integer_linear.default)
    assert len(linears) == 8
    assert all(len(shapes[node]) == 3 and shapes[node][0] == 1 for node in linears)
    picked = [node for node in after.graph.nodes if node.target is aten.index_select.default and node.args[1] == 1]
    assert len(picked) == 3  # of 4 ways to windows and back; before the first one nothing is a list yet


def shapes_of(graph):
    class Shapes(torch.fx.Interpreter):
        def run_node(self, n):
            result = super().run_node(n)
            found[n] = tuple(result.shape) if isinstance(result, torch.Tensor) else None
            return result

    found = {}
    with torch.no_grad():
        Shapes(graph).run(torch.rand(1, 3, 13, 9))
    return found
