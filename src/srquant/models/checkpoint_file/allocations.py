"""Networks are built from shapes in a file; they may not become much larger than its weights."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from srquant.models.layout import Weights

MOST_TIMES = 4
"""Numbers that may be allocated while a network is built, for each of its weights; constructors fill some in twice."""

ALWAYS = 2**23
"""Numbers that any network may need on the way: masks, positions."""

FACTORIES = tuple(getattr(torch.ops.aten, name) for name in ("empty", "zeros", "ones", "full", "rand", "randn"))
"""Operators that make tensors of the shape that is their first argument."""


class Allocations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is active, tensors that need too much memory are refused before they are made.

    Args:
        weights: of a file, by which a network is built.

    Raises:
        ValueError: inside the block, more is asked for than ``MOST_TIMES`` the weights.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = MOST_TIMES * sum(tensor.numel() for tensor in weights.values()) + ALWAYS
        self.left = self.most

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator."""
        if func.overloadpacket in FACTORIES:
            self.left -= math.prod(args[0])
        if self.left < 0:
            raise ValueError(f"it would need more than {self.most:,} numbers, many times the weights of the file")
        return func(*args, **(kwargs or {}))
