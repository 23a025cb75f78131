"""Rewrites of an export graph that save time.

These are exact: a quantizer directly after another one with the same grid is dropped; quantization moves before pixel
shuffles, which then move bytes; a small convolution after a shuffle moves before it, to the lower resolution. Exact up
to float rounding: factors, offsets and colour shifts become part of the scale and bias of the convolution before them.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from srquant.deploy.export.conv_before_shuffle import before_shuffle, keeps_size
from srquant.deploy.export.graph_tools import calls, exclusive_conv, insert, module_of, replace
from srquant.deploy.export.nodes import BlockShuffle, Dequantize, IntegerConv2d, Quantize
from srquant.deploy.frozen.channels import ChannelScaling
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.models.blocks.layers import Add, MeanShift

VECTOR_CHANNELS = 16
"""Integer convolutions compute output channels in blocks of this size, so up to 16 channels take the same time."""


def apply_all(graph: fx.GraphModule) -> None:
    """All rewrites, each once, in the order in which they enable each other."""
    for rewrite in (
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
    """``Quantize(Dequantize(q))`` is ``q`` where both grids are the same."""
    for node, quantize in calls(graph, Quantize):
        source = node.all_input_nodes[0]
        dequantize = module_of(graph, source)
        if isinstance(dequantize, Dequantize) and quantize.same(dequantize.grid):
            node.replace_all_uses_with(source.all_input_nodes[0])


def fold_shift(graph: fx.GraphModule) -> None:
    """A colour shift before a quantizer becomes part of it."""
    for node, quantize in calls(graph, Quantize):
        source = node.all_input_nodes[0]
        shift = module_of(graph, source)
        if isinstance(shift, MeanShift) and quantize.before is None:
            scaling = ChannelScaling(-shift.bias.view(-1, 1, 1), torch.ones_like(shift.bias).view(-1, 1, 1), (0, 0))
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(insert(graph, Quantize(quantize.grid, scaling), *source.args))


def activate_before_shuffle(graph: fx.GraphModule) -> None:
    """``activation(PixelShuffle(x))`` is ``PixelShuffle(activation(x))``, which may become part of a convolution."""
    for node in list(graph.graph.nodes):
        if not _same_for_all_channels(graph, node):
            continue
        shuffled = node.all_input_nodes[0]
        if isinstance(module_of(graph, shuffled), nn.PixelShuffle) and len(shuffled.users) == 1:
            with graph.graph.inserting_after(node):
                result = graph.graph.call_module(str(shuffled.target))
            node.replace_all_uses_with(result)
            node.replace_input_with(shuffled, shuffled.all_input_nodes[0])
            result.args = (node,)


def quantize_before_shuffle(graph: fx.GraphModule) -> None:
    """``Quantize(PixelShuffle(x))`` is ``PixelShuffle(Quantize(x))``."""
    for node, quantize in calls(graph, Quantize):
        source = node.all_input_nodes[0]
        if isinstance(module_of(graph, source), nn.PixelShuffle) and quantize.before is None:
            with graph.graph.inserting_before(node):
                integers = insert(graph, quantize, source.args[0])
                shuffled = graph.graph.call_module(str(source.target), (integers,))
            node.replace_all_uses_with(shuffled)


def share_quantizers(graph: fx.GraphModule) -> None:
    """One ``Quantize`` for all readers of a value that use the same grid."""
    seen: list[tuple[fx.Node, FrozenGrid, fx.Node]] = []
    for node, quantize in calls(graph, Quantize):
        source = node.all_input_nodes[0]
        first = next((q for s, grid, q in seen if s is source and quantize.same(grid)), None)
        if first is not None:
            node.replace_all_uses_with(first)
        elif quantize.before is None:
            seen.append((source, quantize.grid, node))


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
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(insert(graph, Add(), *node.args))
            graph.graph.erase_node(node)


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


def shuffle_blocks(graph: fx.GraphModule) -> None:
    """Order the channels of a convolution so that the shuffle after it moves whole blocks of channels."""
    for node, shuffle in calls(graph, nn.PixelShuffle):
        source = node.all_input_nodes[0]
        while len(source.users) == 1 and (
            isinstance(module_of(graph, source), Quantize) or _same_for_all_channels(graph, source)
        ):
            source = source.all_input_nodes[0]
        conv = exclusive_conv(graph, source)
        if conv is None or conv.geometry.groups != 1:
            continue
        area = shuffle.upscale_factor**2
        order = torch.arange(len(conv.weight)).view(-1, area).T.flatten()
        replace(graph, source, conv.with_channels(order))
        with graph.graph.inserting_after(node):
            blocks = insert(graph, BlockShuffle(shuffle.upscale_factor), node.args[0])
        node.replace_all_uses_with(blocks)


_ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.Tanh)
_ACTIVATION_NAMES = ("relu", "leaky_relu")


def _same_for_all_channels(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node applies one activation function to every element."""
    module = module_of(graph, node)
    if isinstance(module, nn.PReLU):
        return module.num_parameters == 1
    return isinstance(module, _ACTIVATIONS) or getattr(node.target, "__name__", node.target) in _ACTIVATION_NAMES


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
