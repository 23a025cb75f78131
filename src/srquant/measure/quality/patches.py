"""Upscale patch by patch without overlap, as some papers evaluate; seams between patches are visible.

The last patch of a row or column includes the remainder, so patches have ``patch`` to ``2*patch - 1`` pixels per side
and cover every pixel exactly once. This is the evaluation protocol of ClassSR and similar papers; to upscale large
pictures use ``srquant.upscale``, whose tiles overlap.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from srquant.errors import ImageError

Upscaler = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""``H x W x 3`` RGB to ``scale*H x scale*W x 3`` RGB, 8 bit, clipped and rounded."""


Measure = Callable[[NDArray[np.uint8]], float]
"""``H x W x 3`` RGB to a number."""


def spans(length: int, patch: int) -> list[tuple[int, int]]:
    """Start and stop of each patch along one axis.

    >>> spans(300, 96)
    [(0, 96), (96, 192), (192, 300)]
    """
    if patch < 1:
        raise ImageError(f"can't cut patches of {patch} pixels: use at least 1")
    starts = [patch * i for i in range(max(1, length // patch))]
    return list(zip(starts, [*starts[1:], length], strict=True))


def mean_over_patches(measure: Measure, patch: int = 96) -> Measure:
    """A function that measures each patch separately and returns the mean."""

    def mean(image: NDArray[np.uint8]) -> float:
        rows, columns = (spans(size, patch) for size in image.shape[:2])
        values = [measure(image[top:bottom, left:right]) for top, bottom in rows for left, right in columns]
        return sum(values) / len(values)

    return mean


def in_patches(upscaler: Upscaler, scale: int, patch: int = 96) -> Upscaler:
    """An upscaler that applies ``upscaler`` to each patch separately.

    Args:
        upscaler: takes any size from ``patch`` to ``2*patch - 1`` (smaller for smaller pictures).
        scale: its upscaling factor.
        patch: side in pixels of the low-resolution picture.
    """

    def upscale(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        result = np.empty((scale * height, scale * width, 3), np.uint8)
        for top, bottom in spans(height, patch):
            for left, right in spans(width, patch):
                place = np.s_[scale * top : scale * bottom, scale * left : scale * right]
                result[place] = upscaler(image[top:bottom, left:right])
        return result

    return upscale
