"""A cache of decoded pictures with a limit of bytes."""

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srquant.data.formats.limits import MOST_WHOLE
from srquant.data.images import read_rgb


class PictureCache:
    """Reads pictures, and keeps them in memory until ``limit`` bytes are used; later pictures are read each time.

    May be used by several threads.

    Args:
        limit: bytes.
        most_pixels: that a picture may have.
    """

    def __init__(self, limit: int, most_pixels: int = MOST_WHOLE) -> None:
        self.limit, self.most_pixels = limit, most_pixels
        self.kept: dict[Path, NDArray[np.uint8]] = {}
        self.bytes = 0
        self.lock = threading.Lock()

    def read(self, path: Path) -> NDArray[np.uint8]:
        """``H x W x 3`` RGB, 8 bit; errors as ``read_rgb``."""
        kept = self.kept.get(path)
        return self._keep(path, read_rgb(path, self.most_pixels)) if kept is None else kept

    def _keep(self, path: Path, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        with self.lock:
            if path not in self.kept and self.bytes + image.nbytes <= self.limit:
                self.kept[path] = image
                self.bytes += image.nbytes
        return image
