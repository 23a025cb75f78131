"""Rewrites of an exported graph that save time.

These are exact: a quantizer directly after another one with the same grid is dropped; quantization moves before pixel
shuffles, which then move bytes; a small convolution after a shuffle moves before it, to the lower resolution. Exact up
to float rounding: factors, offsets and colour shifts become part of the scale and bias of the convolution before them.
"""

from typing import Any

import torch
from torch import Tensor, fx

from srquant.deploy.export.conv_before_shuffle import before_shuffle, keeps_size
from srquant.deploy.export.fold_constants import fold_constants
from srquant.deploy.export.graph_tools import argument, aten, calls, constant, ours, read_conv, tensor_of, write_conv
from srquant.deploy.export.operators import step_of

VECTOR_CHANNELS = 16
"""Integer convolutions compute output channels in blocks of this size, so up to 16 channels take the same time."""

QUANTIZE: Any = ours.quantize.default
DEQUANTIZE: Any = ours.dequantize.default
SHUFFLE: Any = aten.pixel_shuffle.default
ACTIVATIONS = (
    aten.relu.default,
    aten.leaky_relu.default,
    aten.sigmoid.default,
    aten.tanh.default,
)
"""Functions that treat all elements alike."""


def apply_all(graph: fx.GraphModule) -> None:
    """All rewrites, each once, in the order in which they enable each other."""
    for rewrite in (
        fold_constants,
        drop_requantization,
        fold_shift,
        activate_before_shuffle,
        quantize_before_shuffle,
        share_quantizers,
        convolve_before_shuffle,
        fold_add_scale,
        fold_offset,
        fold_affine,
        shuffle_blocks,
    ):
        rewrite(graph)
        graph.graph.eliminate_dead_code()


def drop_requantization(graph: fx.GraphModule) -> None:
    """``quantize(dequantize(q))`` is ``q`` where both grids are the same."""
    for node in calls(graph, QUANTIZE):
        source = node.all_input_nodes[0]
        if source.target == DEQUANTIZE and source.args[1:6] == (*node.args[1:5], _offset(node)):
            node.replace_all_uses_with(source.all_input_nodes[0])


def fold_shift(graph: fx.GraphModule) -> None:
    """A colour shift before a quantizer becomes part of it."""
    for node in calls(graph, QUANTIZE):
        source = node.all_input_nodes[0]
        shift = _shift(graph, source)
        if shift is not None:
            with graph.graph.inserting_before(node):
                first, step = constant(graph, -shift), constant(graph, torch.ones_like(shift))
                arguments = (source.args[0], first, step, *node.args[1:])
                node.replace_all_uses_with(graph.graph.call_function(ours.quantize_channels.default, arguments))


def activate_before_shuffle(graph: fx.GraphModule) -> None:
    """``activation(pixel_shuffle(x))`` is ``pixel_shuffle(activation(x))``, which may become part of a convolution."""
    for node in list(graph.graph.nodes):
        if _same_for_all_channels(graph, node):
            _exchange(graph, node)


def quantize_before_shuffle(graph: fx.GraphModule) -> None:
    """``quantize(pixel_shuffle(x))`` is ``pixel_shuffle(quantize(x))``."""
    for node in calls(graph, QUANTIZE):
        source = node.all_input_nodes[0]
        if source.target == SHUFFLE:
            with graph.graph.inserting_before(node):
                integers = graph.graph.call_function(QUANTIZE, (source.args[0], *node.args[1:]))
                shuffled = graph.graph.call_function(SHUFFLE, (integers, source.args[1]))
            node.replace_all_uses_with(shuffled)


def share_quantizers(graph: fx.GraphModule) -> None:
    """One ``quantize`` for all readers of a value that use the same grid."""
    seen: dict[tuple[object, ...], fx.Node] = {}
    for node in calls(graph, QUANTIZE):
        first = seen.setdefault(node.args, node)
        if first is not node:
            node.replace_all_uses_with(first)


def convolve_before_shuffle(graph: fx.GraphModule) -> None:
    """A convolution to few channels after a shuffle becomes one with rearranged weights before the shuffle."""
    for node in calls(graph, ours.integer_conv2d.default):
        source, conv = node.all_input_nodes[0], read_conv(graph, node)
        if source.target != SHUFFLE or conv is None or not keeps_size(conv):
            continue
        factor = int(argument(source, 1))
        if len(conv.weight) * factor**2 <= VECTOR_CHANNELS:
            node.replace_input_with(source, source.all_input_nodes[0])
            write_conv(graph, node, before_shuffle(conv, factor))
            _shuffle_after(graph, node, factor)


def fold_add_scale(graph: fx.GraphModule) -> None:
    """The factor of ``a + factor * conv(x)`` goes into the convolution."""
    for node in calls(graph, aten.mul.Tensor):
        source, factor = node.args
        conv = read_conv(graph, source) if isinstance(source, fx.Node) else None
        if conv is not None and isinstance(source, fx.Node) and isinstance(factor, int | float):
            write_conv(graph, source, conv.rescaled(float(factor), torch.zeros(())))
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)


def fold_offset(graph: fx.GraphModule) -> None:
    """The offset of a dequantized addend goes into the bias of the convolution it is added to."""
    for node in calls(graph, aten.add.Tensor):
        skip, addend = node.all_input_nodes[0], node.all_input_nodes[-1]
        conv = read_conv(graph, addend)
        if conv is not None and skip.target == DEQUANTIZE and not node.kwargs:
            offset = float(argument(skip, 5))
            with graph.graph.inserting_before(node):
                arguments = (*skip.args[:5], 0.0, skip.args[6])
                node.args = (graph.graph.call_function(DEQUANTIZE, arguments), addend)
            write_conv(graph, addend, conv.rescaled(1.0, torch.tensor(offset)))


def fold_affine(graph: fx.GraphModule) -> None:
    """A colour shift or a constant factor after a convolution (and shuffle) goes into its scale and bias."""
    for node in list(graph.graph.nodes):
        affine = _affine(graph, node)
        if affine is None:
            continue
        factor, shift = affine
        source = target = node.all_input_nodes[0]
        if source.target == SHUFFLE:
            target = source.all_input_nodes[0]
            area = int(argument(source, 1)) ** 2
            shift = shift.repeat_interleave(area) if shift.dim() else shift
        conv = read_conv(graph, target)
        if conv is not None and len(source.users) == 1:
            write_conv(graph, target, conv.rescaled(factor, shift))
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)


def shuffle_blocks(graph: fx.GraphModule) -> None:
    """Order the channels of a convolution so that the shuffle after it moves whole blocks of channels."""
    for node in calls(graph, SHUFFLE):
        source = node.all_input_nodes[0]
        while len(source.users) == 1 and (source.target == QUANTIZE or _same_for_all_channels(graph, source)):
            source = source.all_input_nodes[0]
        conv = read_conv(graph, source)
        if conv is None or conv.geometry.groups != 1:
            continue
        factor = int(argument(node, 1))
        order = torch.arange(len(conv.weight)).view(-1, factor**2).T.flatten()
        write_conv(graph, source, conv.with_channels(order))
        node.target = ours.block_shuffle.default


def join_requantization(graph: fx.GraphModule) -> None:
    """``quantize(dequantize(q))`` of two grids becomes one operation on integers, for engines that are faster then."""
    for node in calls(graph, QUANTIZE):
        source = node.all_input_nodes[0]
        if source.target != DEQUANTIZE:
            continue
        lower, upper, levels, zero_point = (argument(node, index) for index in range(1, 5))
        step, first = step_of(lower, upper, levels), (argument(source, index) for index in range(1, 4))
        factor, shift = step_of(*first) / step, (argument(source, 5) - lower) / step
        with graph.graph.inserting_before(node):
            arguments = (source.args[0], factor, shift, levels, zero_point)
            node.replace_all_uses_with(graph.graph.call_function(ours.requantize.default, arguments))


def _offset(quantize: fx.Node) -> float:
    """The value of integer 0 on the grid of a quantizer."""
    lower, upper, levels, zero_point = (argument(quantize, index) for index in range(1, 5))
    return float(lower + step_of(lower, upper, levels) * zero_point)


def _exchange(graph: fx.GraphModule, node: fx.Node) -> None:
    """``f(pixel_shuffle(x))`` to ``pixel_shuffle(f(x))`` where nothing else reads the shuffled values."""
    shuffled = node.all_input_nodes[0]
    if shuffled.target == SHUFFLE and len(shuffled.users) == 1:
        node.replace_input_with(shuffled, shuffled.all_input_nodes[0])
        _shuffle_after(graph, node, argument(shuffled, 1))


def _shuffle_after(graph: fx.GraphModule, node: fx.Node, factor: int) -> None:
    """All users of a node read its shuffled values instead."""
    with graph.graph.inserting_after(node):
        shuffled = graph.graph.call_function(SHUFFLE)
    node.replace_all_uses_with(shuffled)
    shuffled.args = (node, factor)


def _same_for_all_channels(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node applies one activation function to every element."""
    if node.target is aten.prelu.default:
        slopes = tensor_of(graph, node.args[1])
        return slopes is not None and slopes.numel() == 1
    return node.target in ACTIVATIONS


def _shift(graph: fx.GraphModule, node: fx.Node) -> Tensor | None:
    """The colour that a node adds, ``C x 1 x 1``; None if it does something else."""
    shift = tensor_of(graph, node.args[1]) if node.target is aten.add.Tensor else None
    if shift is None or shift.dim() != 4 or shift.numel() != shift.shape[1]:
        return None
    return shift[0]


def _affine(graph: fx.GraphModule, node: fx.Node) -> tuple[float, Tensor] | None:
    """Factor and shift (``C`` or 0-d) of a node that computes ``factor * x + shift``."""
    shift = _shift(graph, node)
    if shift is not None:
        return 1.0, shift.flatten()
    if node.target in (aten.mul.Tensor, aten.div.Tensor) and isinstance(node.args[1], int | float):
        factor = float(node.args[1])
        return factor if node.target is aten.mul.Tensor else 1.0 / factor, torch.zeros(())
    return None
