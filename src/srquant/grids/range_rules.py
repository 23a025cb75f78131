"""How bounds are found: rules for one tensor, and how bounds of several batches are combined.

A rule maps ``rows x values`` and a number of levels to the lower and upper bound of each row (float32, ``rows``).
Sources: Jacob et al. 2018 (min-max), FQN 2019 (percentile), Choukroun et al. 2019 (MSE, there called OMSE).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from srquant.grids.search import best_candidate, evenly_spaced
from srquant.grids.uniform import codes, step_size

Bounds = tuple[Tensor, Tensor]
Rule = Callable[[Tensor, int], Bounds]
Momentum = float | Literal["mean"] | None
"""How bounds of batches are combined, see ``RunningBounds``."""

SEARCH_VALUES = 2**16
"""Searches compute the error of a candidate on at most this many evenly spaced values of each row; the widest bounds
are found on all values."""

SMALLEST_WIDTH = 1e-6
"""Smallest distance between bounds, relative to the larger of 1 and their magnitude; for constant tensors."""

SMALLEST_SHARE = 1e-3
"""Smallest distance between the bounds of a row, relative to the widest row."""


def minmax(rows: Tensor, levels: int) -> Bounds:
    """Smallest and largest value."""
    return rows.amin(1), rows.amax(1)


def symmetric_max(rows: Tensor, levels: int) -> Bounds:
    """Plus and minus the largest magnitude."""
    largest = rows.abs().amax(1)
    return -largest, largest


def percentile(share: float) -> Rule:
    """The rule that cuts ``share`` (0..0.5) of the values on each side."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        return quantile(rows, share), quantile(rows, 1 - share)

    return rule


def mse(rows: Tensor, levels: int) -> Bounds:
    """Min-max shrunk by the factor 1.00, 0.99 .. 0.01 that has the smallest squared error on this grid."""
    return shrink(rows, levels, minmax(rows, levels))


def symmetric_mse(rows: Tensor, levels: int) -> Bounds:
    """Largest magnitude shrunk by the factor that has the smallest squared error on this grid."""
    return shrink(rows, levels, symmetric_max(rows, levels))


def quantile(rows: Tensor, share: float) -> Tensor:
    """Linearly interpolated quantile of each row; of any length (``torch.quantile`` takes up to 16 million values)."""
    last = rows.shape[1] - 1
    position = share * last
    below = int(position)
    ordered = _ordered_around(rows.detach(), below)
    first, second = ordered[:, below], ordered[:, min(below + 1, last) :].amin(1)
    return first + (position - below) * (second - first)


def _ordered_around(rows: Tensor, position: int) -> Tensor:
    """The values of each row in an order in which none before ``position`` is larger, none behind it smaller.

    On the CPU NumPy does this in a fraction of the time that PyTorch takes to sort.
    """
    if rows.device.type != "cpu":
        return rows.sort(1).values
    return torch.from_numpy(np.partition(rows.numpy(), position, axis=1))


def shrink(rows: Tensor, levels: int, widest: Bounds, smallest: int = 1) -> Bounds:
    """The widest bounds times the factor 1.00, 0.99 .. with the smallest squared error on their grid.

    Args:
        rows: ``rows x values``.
        levels: points of the grid.
        widest: bounds of each row.
        smallest: the last factor that is tried, in percent.
    """
    lower, upper = separate_bounds(*widest)
    rows = evenly_spaced(rows, SEARCH_VALUES)
    factors = (percent / 100 for percent in range(100, smallest - 1, -1))
    candidates = ((factor * lower, factor * upper) for factor in factors)
    return best_candidate(candidates, lambda lower, upper: squared_error(rows, lower, upper, levels))


def squared_error(rows: Tensor, lower: Tensor, upper: Tensor, levels: int) -> Tensor:
    """Mean squared rounding and clipping error of each row on its grid, ``rows``."""
    low, high = lower.unsqueeze(1), upper.unsqueeze(1)
    points = codes(rows, low, high, levels).mul_(step_size(low, high, levels)).add_(low)
    return points.sub_(rows).square_().mean(1)


def separate_bounds(lower: Tensor, upper: Tensor) -> Bounds:
    """Move bounds apart where they are (nearly) equal, so that the grid between them has a positive step."""
    width = SMALLEST_WIDTH * torch.maximum(lower.abs(), upper.abs()).clamp(min=1.0)
    width = width.clamp(min=SMALLEST_SHARE * float((upper - lower).max()))
    return lower, torch.maximum(upper, lower + width)


@dataclass
class RunningBounds:
    """Bounds of a stream of batches.

    Args:
        rule: bounds of one batch.
        levels: points of the grid that the bounds are for.
        momentum: weight of earlier batches in the exponential moving average; ``mean`` takes the mean of all batches,
            None the outermost bounds.
        lower: lower bounds so far, ``rows``; None before the first batch.
        upper: the same for upper bounds.
        batches: number of batches so far.
        all_zero: whether all values so far were zero.
    """

    rule: Rule
    levels: int
    momentum: Momentum
    lower: Tensor | None = None
    upper: Tensor | None = None
    batches: int = 0
    all_zero: bool = True

    def update(self, rows: Tensor) -> None:
        """Combine the bounds so far with those of one batch, ``rows x values``."""
        self.all_zero = self.all_zero and not bool(rows.any())
        lower, upper = self.rule(rows, self.levels)
        if self.lower is None or self.upper is None:
            self.lower, self.upper = lower, upper
        elif self.momentum is None:
            self.lower, self.upper = torch.minimum(self.lower, lower), torch.maximum(self.upper, upper)
        else:
            before = self.batches / (self.batches + 1) if self.momentum == "mean" else self.momentum
            self.lower = before * self.lower + (1 - before) * lower
            self.upper = before * self.upper + (1 - before) * upper
        self.batches += 1

    def bounds(self) -> Bounds:
        """Lower and upper bound of each row, moved apart by ``separate_bounds``."""
        if self.lower is None or self.upper is None:
            raise RuntimeError("no batch was seen")
        return separate_bounds(self.lower, self.upper)
