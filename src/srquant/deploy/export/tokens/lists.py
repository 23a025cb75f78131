"""Tokens as one list: what treats each token alike runs on ``1 x tokens x C``, and windows are gathered from the list.

OpenVINO (2026.4) joins a linear layer with the functions and the quantization behind it only if its tokens have one or
two axes; it takes pictures of four axes for pictures with channels first; and it gathers rows of bytes faster than it
rolls and transposes them. Low-precision passes don't know ``Roll`` at all.
"""

import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from srquant.deploy.export.graph_tools import argument, aten, ours, tensor_of

VIEW, PERMUTE, CLONE, ROLL = aten.view.default, aten.permute.default, aten.clone.default, aten.roll.default
MOVES = (VIEW, PERMUTE, CLONE, ROLL)
"""Steps that move values and change none."""

LINEAR, ADD, NORM = ours.integer_linear.default, aten.add.Tensor, aten.native_layer_norm.default
EACH_TOKEN = (
    *(aten.gelu.default, aten.relu.default, ours.quantize.default, ours.quantize_channels.default),
    *(NORM, operator.getitem),
)
"""Steps that treat all tokens alike, and only read a single value of the picture."""

KEEP_RANK = (*EACH_TOKEN, LINEAR, ADD, CLONE, ROLL)
CONVOLUTIONS, PICTURE_RANK = (ours.integer_conv2d.default, ours.conv2d.default), 4


@dataclass(frozen=True)
class Tokens:
    """A value ``... x C`` as a list.

    Attributes:
        rows: ``1 x tokens x C``.
        channels: ``C``.
        sizes: of the value's axes but the last one, numbers or nodes.
        order: numbers of the rows, ``... x 1``; None where they are in order.
    """

    rows: fx.Node
    channels: int
    sizes: list[Any]
    order: fx.Node | None = None

    def keeps_channels(self, move: fx.Node) -> bool:
        """Whether a move leaves the last axis as it is."""
        axes = range(len(self.sizes))
        if move.target is VIEW:
            return bool(argument(move, 1)[-1] == self.channels)
        if move.target is PERMUTE:
            return bool(argument(move, 1)[-1] == len(axes))
        return move.target is CLONE or set(argument(move, 2)) <= set(axes)

    def sizes_after(self, move: fx.Node) -> list[Any]:
        """The sizes of the moved value."""
        if move.target is VIEW:
            return list(argument(move, 1)[:-1])
        return [self.sizes[axis] for axis in argument(move, 1)[:-1]] if move.target is PERMUTE else self.sizes


def flatten_tokens(graph: fx.GraphModule) -> None:
    """Run linear layers, and the norms, sums, functions and quantizers around them, on lists of tokens."""
    lists = _Lists(graph)
    for node in list(graph.graph.nodes):
        if node.op == "call_function":
            with graph.graph.inserting_before(node):
                lists.visit(node)


class _Lists:
    """The values that are lists so far, by the node that has them in their old form."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph = graph
        self.call = graph.graph.call_function
        self.known: dict[fx.Node, Tokens] = {}

    def visit(self, node: fx.Node) -> None:
        """Compute a node's value as a list, if it treats tokens alike; other readers get it in its old form."""
        tokens = self._list_of(node)
        if tokens is None:
            return
        self.known[node] = tokens
        if node.target not in (*MOVES, NORM) and tokens.order is None:
            old = self.call(VIEW, (tokens.rows, [*tokens.sizes, tokens.channels]))
            node.replace_all_uses_with(old)
            self.known[old] = tokens

    def _list_of(self, node: fx.Node) -> Tokens | None:
        if node.target is LINEAR:
            return self._linear(node)
        if node.target is ADD:
            return self._sum(node)
        tokens = self.known.get(node.all_input_nodes[0]) if node.all_input_nodes else None
        if tokens is not None and node.target in EACH_TOKEN:
            return replace(tokens, rows=self._again(node, tokens.rows))
        if tokens is not None and node.target in MOVES and tokens.keeps_channels(node):
            return self._moved(node, tokens)
        return None

    def _linear(self, node: fx.Node) -> Tokens | None:
        weight = tensor_of(self.graph, argument(node, 1))
        assert weight is not None
        tokens = self._as_list(argument(node, 0), weight.shape[1])
        if tokens is None:
            return None
        rows = self.call(LINEAR, (self._in_order(tokens), *node.args[1:]))
        return Tokens(rows, weight.shape[0], tokens.sizes)

    def _sum(self, node: fx.Node) -> Tokens | None:
        known = [self.known[term] for term in node.all_input_nodes if term in self.known]
        if not known or len(node.all_input_nodes) != len(node.args) or node.kwargs:
            return None
        terms = [self._as_list(term, known[0].channels) for term in node.args]
        if len({None if term is None else len(term.sizes) for term in terms}) > 1:
            return None
        rows = tuple(self._in_order(term) for term in terms if term is not None)
        return Tokens(self.call(ADD, rows), known[0].channels, known[0].sizes)

    def _as_list(self, node: Any, channels: int) -> Tokens | None:
        """A value as a list; None where its number of axes isn't known."""
        if node in self.known:
            return self.known[node]
        rank = _rank(node)
        if rank is not None:
            sizes = [self.call(aten.sym_size.int, (node, axis)) for axis in range(rank - 1)]
            self.known[node] = Tokens(self._viewed(node, [1, -1, channels]), channels, sizes)
        return self.known.get(node)

    def _moved(self, move: fx.Node, tokens: Tokens) -> Tokens:
        """A move of tokens moves their numbers only."""
        sizes = tokens.sizes_after(move)
        if tokens.order is None and move.target in (VIEW, CLONE):
            return replace(tokens, sizes=sizes)
        order = self._numbers(tokens) if tokens.order is None else tokens.order
        arguments = ([*sizes, 1],) if move.target is VIEW else move.args[1:]
        return replace(tokens, sizes=sizes, order=self._again(move, order, arguments))

    def _again(self, node: fx.Node, value: fx.Node, arguments: tuple[Any, ...] | None = None) -> fx.Node:
        """The call of a node with another first argument, and maybe other ones behind it."""
        target: Any = node.target
        return self.call(target, (value, *(node.args[1:] if arguments is None else arguments)), node.kwargs)

    def _numbers(self, tokens: Tokens) -> fx.Node:
        numbers = self.call(aten.arange.default, (self.call(aten.sym_size.int, (tokens.rows, 1)),))
        return self.call(VIEW, (numbers, [*tokens.sizes, 1]))

    def _in_order(self, tokens: Tokens) -> fx.Node:
        if tokens.order is None:
            return tokens.rows
        return self.call(aten.index_select.default, (tokens.rows, 1, self._viewed(tokens.order, [-1])))

    def _viewed(self, node: fx.Node, sizes: list[Any]) -> fx.Node:
        """A view of values that may lie in any order; engines drop the copy."""
        copied = self.call(CLONE, (node,), {"memory_format": torch.contiguous_format})
        return self.call(VIEW, (copied, sizes))


def _rank(node: fx.Node) -> int | None:
    """Number of axes of a value; None where the steps that made it don't tell."""
    while node.target in KEEP_RANK:
        node = node.all_input_nodes[0]
    if node.target in (VIEW, PERMUTE):
        return len(argument(node, 1))
    return PICTURE_RANK if node.target in CONVOLUTIONS else None
