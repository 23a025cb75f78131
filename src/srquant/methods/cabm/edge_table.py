"""CABM's table from a picture's edge score to the bits of all layers (CVPR 2023, sections 3.3 and 3.4)."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

HUNDREDTHS = 100


@dataclass(frozen=True)
class Configuration:
    """What the layers of a network chose for a patch.

    Attributes:
        score: the patch's edge score in hundredths.
        flags: the candidate of each layer.
        fab: mean bits of the layers.
    """

    score: int
    flags: tuple[int, ...]
    fab: float


def in_hundredths(scores: Tensor) -> Tensor:
    """Edge scores rounded to two decimals, in hundredths, int64."""
    return (scores * HUNDREDTHS).round().long()


def look_up(scores: Tensor, edges: Tensor) -> Tensor:
    """The entry of each picture: that of its own score or else of the next lower one; below all, the first.

    The published search takes a hundredth off the score until the table has it.

    Args:
        scores: ``E`` int64, of the entries, ascending.
        edges: ``N`` edge scores.

    Returns:
        ``N`` int64 in 0..E-1.
    """
    found = torch.searchsorted(scores, in_hundredths(edges).to(scores.device), right=True)
    return (found - 1).clamp(min=0)


def usable_entries(seen: Iterable[Configuration], select_bit: int, calibration: float) -> list[Configuration]:
    """The entries that can be looked up, by ascending score.

    Args:
        seen: configurations of patches, at least one.
        select_bit: which of a score's different configurations is its entry, by ascending FAB; the last where there
            are fewer.
        calibration: entries of this FAB and above are left out; where none is below, those of the smallest remain.
    """
    by_score: dict[int, set[Configuration]] = {}
    for configuration in seen:
        by_score.setdefault(configuration.score, set()).add(configuration)
    ordered = [sorted(by_score[score], key=lambda c: (c.fab, c.flags)) for score in sorted(by_score)]
    entries = [configurations[min(select_bit, len(configurations) - 1)] for configurations in ordered]
    usable = [entry for entry in entries if entry.fab < calibration]
    smallest = min(entry.fab for entry in entries)
    return usable or [entry for entry in entries if entry.fab == smallest]
