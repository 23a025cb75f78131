"""Positions of the tiles.

A tile reads more than it contributes: at each side it reaches to the border of the picture or overlaps its neighbour,
and the result of the overlap is cut off. Along each axis all tiles have the same length (the last one is moved inwards
to fit), so that engines compile one shape only.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import psutil

from srquant.errors import InputError
from srquant.upscale.tiles.tiling import Tiling

TileSize = int | Literal["auto"]

MEMORY_SHARE = 0.25
"""Share of the free memory that a tile may use by default."""

MEMORY_LIMIT = 800 * 10**6
"""Most bytes that a tile may use by default; then a result of 7680x4320 pixels needs less than 1.5 GB in total."""

MOST_PIXELS = 2**31
"""Longer than any picture's side."""


@dataclass(frozen=True)
class Span:
    """One tile along one axis: it reads ``start..stop`` and contributes the result of ``own_start..own_stop``."""

    start: int
    stop: int
    own_start: int
    own_stop: int


def next_span(length: int, own_start: int, size: int, overlap: int, alignment: int) -> Span:
    """The tile whose contribution begins at ``own_start``.

    Args:
        length: of the picture along this axis.
        own_start: where the previous tile's contribution ended.
        size: pixels to read, more than ``2 * overlap + alignment`` unless it is ``length``.
        overlap: pixels at a side inside the picture whose result is cut off.
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


def even_size(length: int, own: int, tiling: Tiling) -> int:
    """Pixels that each tile reads along an axis if all read equally many and contribute at most ``own``.

    Where the engine takes one size only, tiles have it: smaller ones would be padded.
    """
    if tiling.largest is not None:
        return min(length, tiling.largest - (tiling.alignment - 1))
    inside = length - 2 * tiling.overlap
    count = math.ceil(inside / own)
    if count <= 1:
        return length
    even = math.ceil(inside / count / tiling.alignment) * tiling.alignment
    return min(length, even + 2 * tiling.overlap)


def contribution(tile: TileSize, tiling: Tiling) -> int:
    """Side of the square that one tile contributes, in input pixels.

    ``auto`` depends on the free memory only if tiles don't change the result, so that a picture always gives the same
    file. A tile is never larger than the engine can take.

    Raises:
        InputError: the tile is empty.
    """
    most = MOST_PIXELS if tiling.largest is None else tiling.largest - 2 * tiling.overlap
    if tile == "auto":
        available = MEMORY_SHARE * psutil.virtual_memory().available
        budget = min(MEMORY_LIMIT, available) if tiling.exact else MEMORY_LIMIT
        own = max(1, tiling.overlap, math.isqrt(int(budget / tiling.bytes_per_pixel)) - 2 * tiling.overlap)
        return min(own, most)
    if tile < 1:
        raise InputError(f"a tile of {tile} pixels is empty; give --tile auto or a number of pixels such as 256")
    return min(tile, most)
