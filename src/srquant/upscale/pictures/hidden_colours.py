"""Colours under transparency, which must not reach visible pixels.

Editors leave any colour where a picture is fully transparent, mostly black. A network would mix it into the edge of
what is visible. So such pixels get the colours of visible ones nearby: the mean of the visible among their eight
neighbours, or else that of cells of 2 x 2, 4 x 4 ... 64 x 64 pixels around them. Pixels farther away keep their colour.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srquant.upscale.pictures.rows import Pixels, Rows

Plane = NDArray[np.float32]

HALVINGS = 6
CELL = 2**HALVINGS
"""Side of the largest cells in pixels; they lie on multiples of it, so that no row depends on where reading began."""

TRUSTED = 1 / 16
"""Opacity from which a pixel keeps its colour. Below it, 8-bit colours are often no more than rounding; a change weighs
at most a quarter of this in the visible picture: 4 grey levels of 256."""


class VisibleColours:
    """``Rows`` of the colours of a picture with alpha, whose last band is the opacity."""

    def __init__(self, picture: Rows) -> None:
        self.picture = picture
        self.height, self.width = picture.height, picture.width

    def read(self, top: int, bottom: int) -> Pixels:
        """Rows ``top..bottom`` without alpha; ``top`` never decreases."""
        first = max(0, top // CELL * CELL - CELL)
        last = min(self.height, -(-bottom // CELL) * CELL + CELL)
        return fill_hidden(self.picture.read(first, last))[top - first : bottom - first]


def fill_hidden(pixels: Pixels) -> Pixels:
    """Colours of ``H x W x 2 or 4`` without alpha; those of fully visible pictures are returned as they are.

    Its first row must be one of a cell, see ``CELL``.
    """
    colours, opacity = pixels[..., :-1], pixels[..., -1:]
    enough = TRUSTED * np.iinfo(pixels.dtype).max
    trust = np.minimum(1, opacity / enough).astype(np.float32)
    if trust.min() == 1:
        return colours
    height, width = opacity.shape[:2]
    weight = opacity.astype(np.float32)
    visible = Cells(padded(colours.astype(np.float32) * weight), padded(weight))
    near, found = visible.spread(HALVINGS, enough)
    near, found = near[:height, :width], found[:height, :width]
    mixed = trust * colours + (1 - trust) * near
    filled: Pixels = np.where(found, np.rint(mixed).astype(pixels.dtype), colours)
    return filled


def padded(plane: Plane) -> Plane:
    """Add zeros below and to the right, so that cells fill the plane."""
    return np.pad(plane, ((0, -plane.shape[0] % CELL), (0, -plane.shape[1] % CELL), (0, 0)))


@dataclass(frozen=True)
class Cells:
    """Square cells of pixels.

    Attributes:
        colours: ``H x W x bands``, sums of colours times opacity.
        opacity: ``H x W x 1``, sums of opacity.
    """

    colours: Plane
    opacity: Plane

    def spread(self, halvings: int, least: float) -> tuple[Plane, NDArray[np.bool_]]:
        """Mean visible colour around each cell, ``H x W x bands``, and where there is one, ``H x W x 1``.

        Args:
            halvings: how often cells may be made larger where too little is visible.
            least: the opacity that is enough.
        """
        opacity = around(self.opacity)
        found = opacity >= least
        near: Plane = np.divide(around(self.colours), np.where(found, opacity, 1), dtype=np.float32)
        if halvings and not found.all():
            coarse, coarse_found = Cells(halved(self.colours), halved(self.opacity)).spread(halvings - 1, least)
            near = np.where(found, near, doubled(coarse))
            found = found | doubled(coarse_found)
        return near, found


def around(plane: Plane) -> Plane:
    """Sums of each value and its eight neighbours."""
    tall = np.pad(plane, ((1, 1), (0, 0), (0, 0)))
    rows = tall[:-2] + tall[1:-1] + tall[2:]
    wide = np.pad(rows, ((0, 0), (1, 1), (0, 0)))
    sums: Plane = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    return sums


def halved(plane: Plane) -> Plane:
    """Sums of 2 x 2 values."""
    sums: Plane = plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]
    return sums


def doubled(plane: NDArray[Any]) -> NDArray[Any]:
    """Each value four times."""
    return plane.repeat(2, axis=0).repeat(2, axis=1)
