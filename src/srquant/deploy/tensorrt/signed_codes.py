"""A graph whose integers are what TensorRT takes: signed bytes with zero point 0, made just before they are read.

Integers ``k - z`` of up to 7 bits fit as they are. Of 8 bits they may not: those become ``k - t`` with the nearest
``t`` that fits, and what that subtracts from each sum is added to the bias. A padded zero is then another integer than
0, and the convolution's input is padded with it first.
"""

from typing import Any

import torch
from torch import Tensor, fx

from srquant.deploy.export.graph_tools import argument, aten, calls, constant, ours, tensor_of
from srquant.deploy.export.operators import step_of
from srquant.deploy.export.rewrites import DEQUANTIZE, QUANTIZE, SHUFFLE, fold_offset, share_quantizers

SMALLEST, LARGEST = -128, 127


def sign_codes(graph: fx.GraphModule) -> None:
    """All rewrites. Each is exact but for the rounding of floats."""
    for rewrite in (
        scale_channels,
        quantize_after_shuffle,
        recentre,
        recentre_operands,
        share_quantizers,
        fold_offset,
    ):
        rewrite(graph)
        graph.graph.eliminate_dead_code()
    graph.recompile()


def scale_channels(graph: fx.GraphModule) -> None:
    """Channels are scaled to a common grid first: TensorRT's grids of activations are per tensor."""
    for node in calls(graph, ours.quantize_channels.default):
        x, first, step, *grid = node.args
        width = tensor_of(graph, step)
        with graph.graph.inserting_before(node):
            scaled = graph.graph.call_function(aten.sub.Tensor, (x, first))
            if width is None or bool((width != 1).any()):
                scaled = graph.graph.call_function(aten.div.Tensor, (scaled, step))
            node.replace_all_uses_with(graph.graph.call_function(QUANTIZE, (scaled, *grid)))


def quantize_after_shuffle(graph: fx.GraphModule) -> None:
    """``shuffle(quantize(x))`` is ``quantize(shuffle(x))``: TensorRT's shuffles take floats."""
    for node in calls(graph, SHUFFLE, ours.block_shuffle.default):
        source: fx.Node = node.all_input_nodes[0]
        shuffle: Any = node.target
        if source.target == QUANTIZE:
            with graph.graph.inserting_before(node):
                shuffled = graph.graph.call_function(shuffle, (source.args[0], node.args[1]))
                node.replace_all_uses_with(graph.graph.call_function(QUANTIZE, (shuffled, *source.args[1:])))


def recentre(graph: fx.GraphModule) -> None:
    """Integers of all layers and sums fit into signed bytes."""
    for node in calls(graph, QUANTIZE):
        levels, zero_point = argument(node, 3), argument(node, 4)
        shift = min(max(zero_point, levels - 1 - LARGEST), -SMALLEST) - zero_point
        readers = list(node.users) if shift else ()
        node.update_arg(4, zero_point + shift)
        for reader in readers:
            _read_shifted(graph, node, reader, shift)


def _read_shifted(graph: fx.GraphModule, integers: fx.Node, reader: fx.Node, shift: int) -> None:
    """Let a reader of integers read integers less ``shift``."""
    if reader.target == DEQUANTIZE:
        lower, upper, levels = (argument(reader, index) for index in range(1, 4))
        reader.update_arg(5, argument(reader, 5) + step_of(lower, upper, levels) * shift)
        return
    with graph.graph.inserting_before(reader):
        reader.update_arg(3, constant(graph, _bias(graph, reader, shift)))
        if reader.target == ours.integer_conv2d.default and any(argument(reader, 5)):
            reader.replace_input_with(integers, _padded(graph, integers, argument(reader, 5), -shift))
            reader.update_arg(5, [0, 0])


def _bias(graph: fx.GraphModule, layer: fx.Node, shift: int) -> Tensor:
    """The bias of a layer, plus its sums over integers that are all ``shift``."""
    weight, scale, bias = (graph.get_buffer(str(argument(layer, index).target)) for index in range(1, 4))
    return (weight.flatten(1).sum(1, dtype=torch.float64) * scale * shift + bias).float()


def _padded(graph: fx.GraphModule, integers: fx.Node, padding: list[int], border: int) -> fx.Node:
    """Integers with a border. TensorRT pads floats, so they become values, and integers again."""
    _, lower, upper, levels, zero_point = (argument(integers, index) for index in range(5))
    step = step_of(lower, upper, levels)
    grid = -step * zero_point, step * (levels - 1 - zero_point), levels, zero_point
    values = graph.graph.call_function(DEQUANTIZE, (integers, *grid, 0.0, False))
    sides = [padding[1], padding[1], padding[0], padding[0]]
    padded = graph.graph.call_function(aten.constant_pad_nd.default, (values, sides, step * border))
    return graph.graph.call_function(QUANTIZE, (padded, *grid))


def recentre_operands(graph: fx.GraphModule) -> None:
    """Integers of matrix products fit into signed bytes."""
    for node in calls(graph, ours.quantize_operand.default):
        levels, first = argument(node, 3), argument(node, 4)
        shift = max(0, first + levels - 1 - LARGEST)
        node.update_arg(4, first - shift)
        for product in list(node.users):
            steps, offsets = argument(product, 2), argument(product, 3)
            sides = zip(product.args[:2], steps, offsets, strict=True)
            product.update_arg(3, [offset + step * shift * (side is node) for side, step, offset in sides])
