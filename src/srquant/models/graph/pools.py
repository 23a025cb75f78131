"""Adaptive pooling in traces: PyTorch 2.13 keeps the traced output size of ``adaptive_max_pool2d`` as a number."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import SymInt, Tensor
from torch.nn import functional

F: Any = functional

ADAPTIVE = F.adaptive_max_pool2d


@contextmanager
def pools_by_ratio() -> Iterator[None]:
    """Let networks pool by the ratio of sizes that the traced picture has, where it is whole.

    Whether the ratio holds for other sizes must be checked on one.
    """
    F.adaptive_max_pool2d = _pool
    try:
        yield
    finally:
        F.adaptive_max_pool2d = ADAPTIVE


def _pool(x: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """As ``torch.nn.functional.adaptive_max_pool2d``."""
    wanted = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    if return_indices or None in wanted or x.dim() != 4:
        return ADAPTIVE(x, output_size, return_indices)
    pairs = [(_traced(size), _traced(part)) for size, part in zip(x.shape[2:], wanted, strict=True)]
    if any(size % part for size, part in pairs):
        return ADAPTIVE(x, output_size, return_indices)
    return F.max_pool2d(x, [size // part for size, part in pairs])


def _traced(size: Any) -> int:
    """The number of a size in the traced picture."""
    return int(size.node.hint if isinstance(size, SymInt) else size)
