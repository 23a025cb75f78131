"""Grids per channel: fake quantization and its straight-through gradients, a few rows at a time.

A row holds the channels of one pixel or token. Rows that fit into a processor's cache go through all steps before the
next ones are read, which takes half the time of steps over whole tensors.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from srquant.grids.pieces import is_channels_last, piece_size

LIMITS = -torch.finfo(torch.float32).tiny, 1.0 + torch.finfo(torch.float32).eps
"""Between these, in float32, lie 0 and 1 and what is between them."""

aten: Any = torch.ops.aten


def has_rows(x: Tensor, bound: Tensor) -> bool:
    """Whether ``x`` can be viewed as ``pixels x channels``.

    Args:
        x: ``N x C x H x W``, channels last, with bounds ``C x 1 x 1``; or ``... x C``, contiguous, with bounds ``C``.
        bound: of a grid.
    """
    if bound.dim() == 1:
        return x.shape[-1:] == bound.shape and x.is_contiguous()
    return is_channels_last(x) and bound.shape == (x.shape[1], 1, 1)


def as_rows(x: Tensor, bound: Tensor) -> Tensor:
    """``pixels x channels``, a view where ``has_rows``."""
    return (x if bound.dim() == 1 else x.permute(0, 2, 3, 1)).reshape(-1, bound.numel())


def rows_at_a_time(*rows: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Tensors of one shape ``pixels x channels``, cut into pieces that fit into a processor's cache.

    On other devices than the CPU there is one piece, and tensors may have any shape.
    """
    if rows[0].device.type != "cpu":
        return [rows]
    count = max(1, piece_size(rows[0]) // rows[0].shape[1])
    return zip(*(torch.split(tensor, count) for tensor in rows), strict=True)


def quantize_rows(rows: Tensor, lower: Tensor, step: Tensor, levels: int, points: Tensor) -> None:
    """Write the grid points of ``rows``, ``pixels x channels``, to ``points``; bounds and steps are ``channels``."""
    for values, results in rows_at_a_time(rows, points):
        torch.sub(values, lower, out=results).div_(step).round_().clamp_(0, levels - 1).mul_(step).add_(lower)


def gradients(
    rows: Tensor, points: Tensor, grad: Tensor, inside: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor]:
    """Straight-through gradients of the bounds, each ``channels``; the gradient in the values goes to ``inside``.

    On other devices than the CPU, tensors of any shape have gradients of 0-d bounds too.

    Args:
        rows: the values, ``pixels x channels``.
        points: their grid points, same shape.
        grad: gradient in the points, same shape.
        inside: written to, same shape.
        lower: first grid points, ``channels``.
        upper: last grid points, ``channels``.
    """
    outside, above, rounding = (torch.zeros_like(lower) for _ in range(3))
    width = upper - lower
    for x, p, g, kept in rows_at_a_time(rows, points, grad, inside):
        place = torch.sub(x, lower).div_(width)
        aten.hardtanh_backward.grad_input(g, place, *LIMITS, grad_input=kept)
        clipped = g - kept
        outside += clipped.sum_to_size(lower.shape)
        above += aten.threshold_backward.grad_input(clipped, place, 1.0, grad_input=place).sum_to_size(lower.shape)
        rounding += torch.sub(p, x, out=clipped).mul_(kept).sum_to_size(lower.shape)
    rounding /= width
    return outside - above - rounding, above + rounding
