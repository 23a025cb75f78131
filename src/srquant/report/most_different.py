"""Where several versions of a picture differ most."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter  # type: ignore[import-untyped]

from srquant.measure.quality.metrics import luminance
from srquant.report.crops import Box, Pixels


def most_different(versions: Sequence[Pixels], side: int, count: int) -> list[Box]:
    """Squares in which the luminance of the versions is furthest apart, the most different first.

    Args:
        versions: at least one, ``H x W x 3``, 8 bit, all of the same size.
        side: of a square in pixels; less where the picture is smaller.
        count: most squares; fewer where no more fit beside each other.

    Returns:
        Squares inside the picture that don't overlap.
    """
    height, width = versions[0].shape[:2]
    side = min(side, height, width)
    mean = _means_of_squares(_spread(versions), side)
    found: list[Box] = []
    while len(found) < count and np.isfinite(mean).any():
        top, left = (int(i) for i in np.unravel_index(np.argmax(mean), mean.shape))
        found.append(Box(top, left, side))
        mean[max(0, top - side + 1) : top + side, max(0, left - side + 1) : left + side] = -np.inf
    return found


def _spread(versions: Sequence[Pixels]) -> NDArray[np.float64]:
    """Squared distance of the largest from the smallest luminance, ``H x W``."""
    values = [luminance(version) for version in versions]
    spread: NDArray[np.float64] = (np.max(values, axis=0) - np.min(values, axis=0)) ** 2
    return spread


def _means_of_squares(values: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Mean of each square that lies in the picture, by its upper left corner."""
    before = side // 2
    height, width = (size - side + 1 for size in values.shape)
    means: NDArray[np.float64] = uniform_filter(values, side, mode="constant")
    return means[before : before + height, before : before + width].copy()
