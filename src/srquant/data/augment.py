"""Mirroring and transposing, which give a picture eight forms."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def draw_form(random: np.random.Generator) -> tuple[bool, bool, bool]:
    """Whether to mirror the rows, to mirror the columns, to swap both; each with probability one half."""
    rows, columns, swap = random.random(3) < 0.5
    return bool(rows), bool(columns), bool(swap)


def augment(image: Pixels, form: tuple[bool, bool, bool]) -> Pixels:
    """One of the eight forms of ``H x W x C``, as a view."""
    mirror_rows, mirror_columns, swap = form
    image = image[::-1] if mirror_rows else image
    image = image[:, ::-1] if mirror_columns else image
    return image.swapaxes(0, 1) if swap else image
