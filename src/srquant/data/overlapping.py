"""Overlapping patches of pictures, on a regular grid."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srquant.data.find import list_images
from srquant.data.images import read_rgb
from srquant.errors import DatasetError


def overlapping_patches(folder: Path, side: int, step: int) -> Iterator[NDArray[np.uint8]]:
    """Patches ``side x side x 3`` of all pictures of a folder; incomplete patches at the edges are left out.

    Args:
        folder: low-resolution pictures; subfolders are not searched.
        side: of a patch in pixels.
        step: distance between neighbouring patches in pixels.

    Raises:
        DatasetError: no pictures, or one that is smaller than a patch.
    """
    files = list_images(folder)
    if not files:
        raise DatasetError(f"{folder} contains no pictures: give a folder of low-resolution pictures")
    for path in files:
        image = read_rgb(path)
        height, width = image.shape[:2]
        if min(height, width) < side:
            raise DatasetError(f"{path} has {height}x{width} pixels, less than a patch of {side}x{side}: leave it out")
        for top in range(0, height - side + 1, step):
            for left in range(0, width - side + 1, step):
                yield image[top : top + side, left : left + side]
