"""Density-based dual clipping (PTQ4SR, Tu et al., CVPR 2023, section 3.2)."""

import torch
from torch import Tensor

from srquant.devices import double
from srquant.grids.range_rules import Bounds, Rule

BINS = 2048

COUNTABLE = 2**24
"""Counts in single precision are exact up to this."""


def dbdc(share: float) -> Rule:
    """The rule that drops end bins of a histogram, always the emptier end, until ``share`` (0..1) of the values is cut.

    The lower bound is the lower edge of the first kept bin, so that of values with one long tail only that side is cut.
    The released code takes the upper edge of that bin.
    """

    def rule(rows: Tensor, levels: int) -> Bounds:
        bounds = [_clip(row, share) for row in rows]
        lower, upper = (torch.stack(ends) for ends in zip(*bounds, strict=True))
        return lower, upper

    return rule


def _clip(values: Tensor, share: float) -> Bounds:
    lowest, highest = values.min(), values.max()
    width = (highest - lowest) / BINS
    if not width > 0:
        return lowest, highest
    parts = (torch.histc(part, BINS, float(lowest), float(highest)) for part in torch.split(values, COUNTABLE))
    first, last = kept_bins(double(torch.stack(list(parts))).sum(0).tolist(), share)
    return lowest + width * first, lowest + width * (last + 1)


def kept_bins(counts: list[float], share: float) -> tuple[int, int]:
    """First and last bin that are kept; the left end bin is dropped if it has fewer values than the right one.

    >>> kept_bins([1, 5, 9, 3], 0.15)
    (1, 2)
    """
    first, last = 0, len(counts) - 1
    inside, wanted = sum(counts), (1 - share) * sum(counts)
    while inside > wanted and first < last:
        if counts[first] < counts[last]:
            inside, first = inside - counts[first], first + 1
        else:
            inside, last = inside - counts[last], last - 1
    return first, last
