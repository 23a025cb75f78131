"""Rewrites of an export graph that save time.

A quantizer right after another with the same grid is dropped; quantization moves before pixel shuffles, which then
move bytes; a small convolution after a shuffle runs before it at the lower resolution: all exact. Factors, offsets
and colour shifts go into the scale and bias of the convolution before them: exact up to float rounding.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from srquant.deploy.frozen import FrozenGrid
from srquant.deploy.lowered import Dequantize, IntegerConv2d, Quantize
from srquant.deploy.patterns import calls, exclusive_conv, insert, module_of, replace
from srquant.deploy.shuffle import before_shuffle, keeps_size
from srquant.models.layers import Add, MeanShift

VECTOR_CHANNELS = 16
"""Integer convolutions compute output channels in blocks of this size, so up to here more of them cost nothing."""


def apply_all(graph: fx.GraphModule) -> None:
    """All rewrites, each once, in the order in which they enable each other."""
    for rewrite in (
        drop_requantization,
        quantize_before_shuffle,
        share_quantizers,
        convolve_before_shuffle,
        fold_add_scale,
        fold_offset,
        fold_affine,
    ):
        rewrite(graph)
        graph.graph.eliminate_dead_code()


def drop_requantization(graph: fx.GraphModule) -> None:
    """``Quantize(Dequantize(q))`` is ``q`` where both grids are the same."""
    for node, quantize in calls(graph, Quantize):
        source = node.all_input_nodes[0]
        dequantize = module_of(graph, source)
        if isinstance(dequantize, Dequantize) and _same(quantize.grid, dequantize.grid):
            node.replace_all_uses_with(source.all_input_nodes[0])


def quantize_before_shuffle(graph: fx.GraphModule) -> None:
    """``Quantize(PixelShuffle(x))`` is ``PixelShuffle(Quantize(x))``."""
    for node, quantize in calls(graph, Quantize):
        source = node.all_input_nodes[0]
        if isinstance(module_of(graph, source), nn.PixelShuffle):
            with graph.graph.inserting_before(node):
                integers = insert(graph, quantize, source.args[0])
                shuffled = graph.graph.call_module(str(source.target), (integers,))
            node.replace_all_uses_with(shuffled)


def share_quantizers(graph: fx.GraphModule) -> None:
    """One ``Quantize`` for all readers of a value that use the same grid."""
    seen: list[tuple[fx.Node, FrozenGrid, fx.Node]] = []
    for node, quantize in calls(graph, Quantize):
        source = node.all_input_nodes[0]
        first = next((q for s, grid, q in seen if s is source and _same(grid, quantize.grid)), None)
        if first is None:
            seen.append((source, quantize.grid, node))
        else:
            node.replace_all_uses_with(first)


def convolve_before_shuffle(graph: fx.GraphModule) -> None:
    """A convolution to few channels after a shuffle becomes one with rearranged weights before the shuffle."""
    for node, conv in calls(graph, IntegerConv2d):
        source = node.all_input_nodes[0]
        shuffle = module_of(graph, source)
        if not isinstance(shuffle, nn.PixelShuffle) or not keeps_size(conv) or exclusive_conv(graph, node) is None:
            continue
        if conv.weight.shape[0] * shuffle.upscale_factor**2 <= VECTOR_CHANNELS:
            with graph.graph.inserting_after(node):
                shuffled = graph.graph.call_module(str(source.target))
            node.replace_all_uses_with(shuffled)
            shuffled.args, node.args = (node,), source.args
            replace(graph, node, before_shuffle(conv, shuffle.upscale_factor))


def fold_add_scale(graph: fx.GraphModule) -> None:
    """The factor of ``a + factor * conv(x)`` goes into the convolution."""
    for node, add in calls(graph, Add):
        addend = node.all_input_nodes[-1]
        conv = exclusive_conv(graph, addend)
        if add.scale != 1.0 and conv is not None:
            replace(graph, addend, conv.rescaled(add.scale, torch.zeros(())))
            replace(graph, node, Add())


def fold_offset(graph: fx.GraphModule) -> None:
    """The offset of a dequantized addend goes into the bias of the convolution it is added to."""
    for node, add in calls(graph, Add):
        skip, addend = node.all_input_nodes[0], node.all_input_nodes[-1]
        conv, dequantize = exclusive_conv(graph, addend), module_of(graph, skip)
        if add.scale == 1.0 and conv is not None and isinstance(dequantize, Dequantize):
            with graph.graph.inserting_before(node):
                values = insert(graph, Dequantize(dequantize.grid, 0.0), skip.args[0])
            node.args = (values, addend)
            replace(graph, addend, conv.rescaled(1.0, torch.tensor(dequantize.offset)))


def fold_affine(graph: fx.GraphModule) -> None:
    """A colour shift or a constant factor after a convolution (and shuffle) goes into its scale and bias."""
    for node in list(graph.graph.nodes):
        affine = _affine(graph, node)
        if affine is None:
            continue
        factor, shift = affine
        source = target = node.all_input_nodes[0]
        shuffle = module_of(graph, source)
        if isinstance(shuffle, nn.PixelShuffle):
            target = source.all_input_nodes[0]
            shift = shift.repeat_interleave(shuffle.upscale_factor**2) if shift.dim() else shift
        conv = exclusive_conv(graph, target)
        if conv is not None and len(source.users) == 1:
            replace(graph, target, conv.rescaled(factor, shift))
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)


def _same(a: FrozenGrid, b: FrozenGrid) -> bool:
    return a.levels == b.levels and torch.equal(a.lower, b.lower) and torch.equal(a.upper, b.upper)


_SCALINGS: dict[Any, Callable[[float], float]] = {
    operator.mul: lambda value: value,
    operator.truediv: lambda value: 1.0 / value,
}


def _affine(graph: fx.GraphModule, node: fx.Node) -> tuple[float, Tensor] | None:
    """Factor and shift of a node that computes ``factor * x + shift``."""
    module = module_of(graph, node)
    if isinstance(module, MeanShift):
        return 1.0, module.bias
    if node.target in _SCALINGS and isinstance(node.args[1], int | float):
        return _SCALINGS[node.target](node.args[1]), torch.zeros(())
    return None
