"""Pictures as rows of pixels, in memory or read from top to bottom."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.unsignedinteger[Any]]
"""``H x W x bands``, uint8 or uint16."""


class Rows(Protocol):
    """A picture that is read from top to bottom."""

    height: int
    width: int

    def read(self, top: int, bottom: int) -> Pixels:
        """Rows ``top..bottom``, ``(bottom - top) x width x bands``; ``top`` never decreases."""
        ...


class ArrayRows:
    """``Rows`` of an array."""

    def __init__(self, image: Pixels) -> None:
        self.image = image
        self.height, self.width = image.shape[:2]

    def read(self, top: int, bottom: int) -> Pixels:
        """Rows ``top..bottom``."""
        return self.image[top:bottom]


def as_images(pixels: Pixels) -> NDArray[np.float32]:
    """``H x W x 1 or 3`` as ``1 x 3 x H x W`` in [0, 1]; gray becomes three equal colours."""
    white = np.float32(np.iinfo(pixels.dtype).max)
    images: NDArray[np.float32] = pixels.transpose(2, 0, 1)[None].astype(np.float32) / white
    return np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
