"""Rewrites of attention in engines that move and multiply bytes faster than floats: views and transposes of tokens.

Quantization gives the same before and after a move of values, and a linear layer the same before and after a move of
tokens. So bytes are moved instead of floats, queries, keys and values are quantized by one operation, and what follows
a linear layer directly can become part of it.
"""

from typing import Any

import torch
from torch import Tensor, fx

from srquant.deploy.export.graph_tools import argument, aten, calls, constant, only_user, ours
from srquant.deploy.export.operators import step_of
from srquant.deploy.export.tokens.lists import MOVES, flatten_tokens

OPERAND: Any = ours.quantize_operand.default


def move_bytes(graph: fx.GraphModule) -> None:
    """All rewrites of attention, each once, in the order in which they enable each other."""
    for rewrite in (quantize_before_moves, quantize_parts_together, flatten_tokens):
        rewrite(graph)
        graph.graph.eliminate_dead_code()
    graph.recompile()


def quantize_before_moves(graph: fx.GraphModule) -> None:
    """``quantize(move(x))`` is ``move(quantize(x))`` where nothing else reads the moved values."""
    for node in calls(graph, ours.quantize.default, OPERAND):
        moves = _moves_before(node)
        if moves:
            first = moves[-1]
            with graph.graph.inserting_before(first):
                target: Any = node.target
                integers = graph.graph.call_function(target, (first.args[0], *node.args[1:]))
            first.replace_input_with(argument(first, 0), integers)
            node.replace_all_uses_with(moves[0])


def quantize_parts_together(graph: fx.GraphModule) -> None:
    """Operands that are parts of one value, maybe times a number, are quantized at once: each channel has its step."""
    for node in calls(graph, aten.split_with_sizes.default):
        parts = sorted(node.users, key=lambda part: int(argument(part, 1)))
        found = [operand for operand in map(_operand_of, parts) if operand is not None]
        grids = {operand.args[3:5] for operand, _ in found}
        if node.args[2:] == (-1,) and len(found) == len(parts) == len(argument(node, 1)) and len(grids) == 1:
            _quantize_whole(graph, node, parts, found)


def _moves_before(node: fx.Node) -> list[fx.Node]:
    """The moves between a value and its quantization, the last one first, that serve nothing else."""
    moves: list[fx.Node] = []
    source = argument(node, 0)
    while len(source.users) == 1 and (source.target in MOVES or _pads_with_zero(source, node)):
        moves.append(source)
        source = argument(source, 0)
    return moves


def _pads_with_zero(source: fx.Node, quantize: fx.Node) -> bool:
    """Whether a value is extended by zeros, and zero becomes the integer 0."""
    if source.target is not aten.constant_pad_nd.default or any(source.args[2:]):
        return False
    zero: Tensor = quantize.target(torch.zeros(()), *quantize.args[1:])  # type: ignore[operator]
    return bool(zero == 0)


def _operand_of(part: fx.Node) -> tuple[fx.Node, float] | None:
    """What quantizes a part of a value as an operand, and the factor before it; None if anything else reads it."""
    reader, factor = only_user(part), 1.0
    if reader is not None and reader.target is aten.mul.Tensor and isinstance(reader.args[1], float):
        factor, reader = argument(reader, 1), only_user(reader)
    return (reader, factor) if reader is not None and reader.target is OPERAND and factor > 0 else None


def _quantize_whole(
    graph: fx.GraphModule, node: fx.Node, parts: list[fx.Node], operands: list[tuple[fx.Node, float]]
) -> None:
    levels, first = (argument(operands[0][0], index) for index in (3, 4))
    offsets, steps = (
        torch.cat([torch.full((size,), value) for size, value in zip(argument(node, 1), values, strict=True)])
        for values in zip(*(_grid(operand, factor) for operand, factor in operands), strict=True)
    )
    with graph.graph.inserting_before(node):
        grid = constant(graph, offsets), constant(graph, steps), float(first), float(first + levels - 1), levels, -first
        whole = graph.graph.call_function(ours.quantize_channels.default, (argument(node, 0), *grid))
    node.replace_input_with(argument(node, 0), whole)
    for part, (operand, _) in zip(parts, operands, strict=True):
        operand.replace_all_uses_with(part)


def _grid(operand: fx.Node, factor: float) -> tuple[float, float]:
    """Value of integer 0, and step, before the factor."""
    lower, upper, levels, first = (argument(operand, index) for index in range(1, 5))
    step = step_of(lower, upper, levels)
    return (lower - step * first) / factor, step / factor
