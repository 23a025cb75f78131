"""Check a graph from a file without computing: shapes only, on PyTorch's ``meta`` device."""

from typing import Any

import torch
from torch import Tensor, fx

from srquant.errors import InputError, first_line
from srquant.models.network import Facts

SIDES = (33, 46)
"""Rows of the pictures; columns are 11 more."""

MOST_ELEMENTS = 2**28
"""Of one tensor; networks make up to some millions of such a picture."""


def check(graph: fx.GraphModule, facts: Facts) -> None:
    """Run a graph on the shapes of two pictures; its nodes know their results' shapes afterwards.

    Args:
        graph: its layers and tensors are on the ``meta`` device.
        facts: of the network.

    Raises:
        InputError: an operator can't take what it is given, a tensor would be huge, or the output isn't a picture that
            is larger by the scale.
    """
    for side in SIDES:
        height, width = (size + facts.padding(size) for size in (side, side + 11))
        batch = 1 if facts.one_by_one else 2
        output = DryRun(graph).run(torch.empty(batch, 3, height, width, device="meta"))
        wanted = (batch, 3, facts.scale * height, facts.scale * width)
        if not isinstance(output, Tensor) or tuple(output.shape) != wanted:
            made = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise InputError(f"graph: makes {made} of a picture of {height}x{width} pixels, not {wanted}")


class DryRun(fx.Interpreter):
    """Runs a graph node by node and keeps each result's shape as the node's ``meta["val"]``."""

    def run_node(self, n: fx.Node) -> Any:
        """The result of a node."""
        try:
            result = super().run_node(n)
        except Exception as error:
            raise InputError(f"graph: node {n.name!r} can't run: {first_line(error):.200}") from error
        if isinstance(result, Tensor) and result.numel() > MOST_ELEMENTS:
            raise InputError(f"graph: node {n.name!r} makes a tensor of shape {tuple(result.shape)}, too large")
        n.meta["val"] = result
        return result
