"""Where tiles lie.

A tile sees the picture's true border, or an overlap of the network's radius that is cut off its result. Along each
axis all tiles are equally long (the last ones shift inwards), so that engines compile one shape.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import psutil

from srquant.errors import InputError
from srquant.upscale.tiles.support import Support

TileSize = int | Literal["auto"]

MEMORY_SHARE = 0.25
"""Share of the free memory that tiles take by default."""

MEMORY_LIMIT = 800 * 10**6
"""Bytes that tiles take at most by default, so that 7680x4320 pixels are made in less than 1.5 GB in all."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it reads ``start..stop`` and its result counts for ``own_start..own_stop``."""

    start: int
    stop: int
    own_start: int
    own_stop: int


def next_span(length: int, own_start: int, size: int, overlap: int, alignment: int) -> Span:
    """The tile whose result begins at ``own_start``.

    Args:
        length: of the picture along this axis.
        own_start: where the previous tile's result ended.
        size: pixels to read, more than ``2 * overlap + alignment`` unless it is ``length``.
        overlap: pixels at an inner edge that see too little.
        alignment: ``start`` is a multiple of it.
    """
    start = max(0, min(own_start - overlap, length - size)) // alignment * alignment
    stop = length if length - start < size + alignment else start + size
    return Span(start, stop, own_start, length if stop == length else stop - overlap)


def spans(length: int, size: int, overlap: int, alignment: int) -> Iterator[Span]:
    """All tiles along one axis."""
    own_start = 0
    while own_start < length:
        span = next_span(length, own_start, size, overlap, alignment)
        yield span
        own_start = span.own_stop


def even_size(length: int, own: int, support: Support) -> int:
    """Pixels that every tile reads along an axis if it contributes at most ``own``."""
    inside = length - 2 * support.radius
    count = math.ceil(inside / own)
    if count <= 1:
        return length
    even = math.ceil(inside / count / support.alignment) * support.alignment
    return min(length, even + 2 * support.radius)


def contribution(tile: TileSize, support: Support) -> int:
    """Side of what one tile contributes, in input pixels.

    Where tiles change the result, ``auto`` doesn't ask how much memory is free: the same picture gives the same file.

    Raises:
        InputError: the tile is empty.
    """
    if tile == "auto":
        available = MEMORY_SHARE * psutil.virtual_memory().available
        budget = min(MEMORY_LIMIT, available) if support.exact else MEMORY_LIMIT
        return max(1, support.radius, math.isqrt(int(budget / support.bytes_per_pixel)) - 2 * support.radius)
    if tile < 1:
        raise InputError(f"a tile of {tile} pixels is empty; give --tile auto or a number of pixels such as 256")
    return tile
