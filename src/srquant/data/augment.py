"""Augmentation by flips and transposition: eight variants of a picture."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def draw_flips(random: np.random.Generator) -> tuple[bool, bool, bool]:
    """Whether to flip vertically, to flip horizontally, to transpose; each with probability one half."""
    vertical, horizontal, transpose = random.random(3) < 0.5
    return bool(vertical), bool(horizontal), bool(transpose)


def augment(image: Pixels, flips: tuple[bool, bool, bool]) -> Pixels:
    """One of the eight variants of ``H x W x C``, as a view; ``flips`` as from ``draw_flips``."""
    vertical, horizontal, transpose = flips
    image = image[::-1] if vertical else image
    image = image[:, ::-1] if horizontal else image
    return image.swapaxes(0, 1) if transpose else image
