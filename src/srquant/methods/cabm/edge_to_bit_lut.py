"""CABM's edge-to-bit lookup table (LUT): from a picture's edge score to the bits of all layers (sections 3.3, 3.4)."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

HUNDREDTHS = 100


@dataclass(frozen=True)
class BitConfiguration:
    """The bits that the layers of a network chose for a patch.

    Attributes:
        score: the patch's edge score in hundredths.
        chosen: index of each layer's candidate.
        fab: mean bits of the layers.
    """

    score: int
    chosen: tuple[int, ...]
    fab: float


def in_hundredths(scores: Tensor) -> Tensor:
    """Edge scores rounded to two decimals, in hundredths, int64."""
    return (scores * HUNDREDTHS).round().long()


def look_up(scores: Tensor, edges: Tensor) -> Tensor:
    """The table entry of each picture: that of its own score, otherwise of the next lower score in the table.

    Scores below all in the table take the first entry. The released code gets the same entry by lowering the score by a
    hundredth until it is in the table.

    Args:
        scores: those of the entries, in hundredths, ascending, ``E`` int64.
        edges: edge scores of the pictures, ``N``.

    Returns:
        ``N`` int64 in 0..E-1.
    """
    found = torch.searchsorted(scores, in_hundredths(edges).to(scores.device), right=True)
    return (found - 1).clamp(min=0)


def usable_entries(seen: Iterable[BitConfiguration], select_bit: int, calibration: float) -> list[BitConfiguration]:
    """The entries of the edge-to-bit LUT, by ascending score.

    Args:
        seen: bit configurations of patches, at least one.
        select_bit: which of the different configurations of a score is its entry, counted from 0 by ascending FAB; the
            last one if there are fewer.
        calibration: entries with this FAB or above are left out; if none is below, those with the smallest FAB stay.
    """
    by_score: dict[int, set[BitConfiguration]] = {}
    for configuration in seen:
        by_score.setdefault(configuration.score, set()).add(configuration)
    ordered = [sorted(by_score[score], key=lambda c: (c.fab, c.chosen)) for score in sorted(by_score)]
    entries = [configurations[min(select_bit, len(configurations) - 1)] for configurations in ordered]
    usable = [entry for entry in entries if entry.fab < calibration]
    smallest = min(entry.fab for entry in entries)
    return usable or [entry for entry in entries if entry.fab == smallest]
