"""Upscale in tiles, in bounded memory; convolutional networks give the same picture as without tiles."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from srquant.upscale.engines.branching_engine import engine_for
from srquant.upscale.engines.not_finite import check_finite
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.pictures.rows import ArrayRows, Pixels, Rows, as_images
from srquant.upscale.tiles.spans import Span, TileSize, contribution, even_size, next_span, spans

PixelsDone = Callable[[int, int], None]
"""Called with the number of input pixels done so far and the number of pixels of the picture."""


def upscale_rows(
    engine: Engine, picture: Rows, tile: TileSize = "auto", progress: PixelsDone = lambda done, total: None
) -> Iterator[Pixels]:
    """Upscale a picture from top to bottom.

    Args:
        engine: runs the network; a ``BranchingEngine`` would choose a branch for each tile, see ``engine_for``.
        picture: 8 or 16 bit; a single band is given to the network as three equal colours, and the result is averaged
            over the colours.
        tile: side in input pixels of the square that one tile contributes (it reads up to two overlaps more), or
            ``auto`` to fit the free memory. Halved when memory runs out.
        progress: called after each tile.

    Yields:
        The next rows, ``n x scale*width x bands``, with the dtype of the picture; rounded half to even, clipped.

    Raises:
        InputError: the tile is empty.
        MemoryError, RuntimeError: there isn't enough memory even for a tile of one pixel.
    """
    own = contribution(tile, engine.tiling)
    done = 0
    while done < picture.height:
        size = even_size(picture.height, own, engine.tiling)
        span = next_span(picture.height, done, size, engine.tiling.overlap, engine.tiling.alignment)
        try:
            report = counted_from(done * picture.width, picture.height * picture.width, progress)
            block = upscale_band(engine, picture.read(span.start, span.stop), span, own, report)
        except (MemoryError, RuntimeError) as error:
            if own == 1 or not is_out_of_memory(error):
                raise
            own //= 2
        else:
            yield block
            done = span.own_stop


def counted_from(before: int, total: int, progress: PixelsDone) -> Callable[[int], None]:
    """What reports pixels that are done in one band, ``before`` of a picture of ``total`` being done already."""
    return lambda pixels: progress(before + pixels, total)


def upscale_band(engine: Engine, rows: Pixels, span: Span, own: int, progress: Callable[[int], None]) -> Pixels:
    """Upscale the rows of one span over the full width and cut off the overlap; reports its pixels after each tile."""
    tiling, scale = engine.tiling, engine.facts.scale
    width = rows.shape[1]
    keep = slice(scale * (span.own_start - span.start), scale * (span.own_stop - span.start))
    block = np.empty((keep.stop - keep.start, scale * width, rows.shape[2]), rows.dtype)
    for column in spans(width, even_size(width, own, tiling), tiling.overlap, tiling.alignment):
        tile = upscale_tile(engine, rows[:, column.start : column.stop])
        left, right = scale * (column.own_start - column.start), scale * (column.own_stop - column.start)
        block[:, scale * column.own_start : scale * column.own_stop] = tile[keep, left:right]
        progress((span.own_stop - span.own_start) * column.own_stop)
    return block


def upscale_tile(engine: Engine, pixels: Pixels) -> Pixels:
    """Upscale ``H x W x 1 or 3`` without tiles; a picture of a size that the network can't take is padded first.

    Raises:
        EngineError: the result isn't finite.
    """
    (height, width, bands), white = pixels.shape, np.iinfo(pixels.dtype).max
    facts, scale = engine.facts, engine.facts.scale
    missing = [(0, facts.padding(height)), (0, facts.padding(width)), (0, 0)]
    pixels = np.pad(pixels, missing, "edge") if any(map(any, missing)) else pixels
    images = as_images(pixels)
    result = engine(images)[0]  # 3 x sH x sW
    check_finite(engine, images, result)
    result = result[:, : scale * height, : scale * width]
    if bands == 1:
        result = result.mean(axis=0, keepdims=True)
    levels = np.rint(np.clip(result, 0, 1) * np.float32(white))
    upscaled: Pixels = levels.astype(pixels.dtype).transpose(1, 2, 0)
    return upscaled


def upscale_whole(engine: Engine, pixels: Pixels) -> Pixels:
    """Upscale ``H x W x 1 or 3`` without tiles, unless the engine can't take pictures of any size."""
    return upscale_tile(engine, pixels) if engine.tiling.largest is None else upscale_array(engine, pixels)


def upscale_array(engine: Engine, image: Pixels, tile: TileSize = "auto") -> Pixels:
    """Upscale ``H x W x 3`` (or ``x 1``), 8 or 16 bit; tiles and errors as ``upscale_rows``.

    Returns:
        ``scale*H x scale*W`` with the bands and dtype of ``image``.
    """
    chosen = engine_for(engine, lambda: ArrayRows(image))
    upscaled: Pixels = np.concatenate(list(upscale_rows(chosen, ArrayRows(image), tile)))
    return upscaled


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine failed because memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ("allocate memory", "out of memory", "bad_alloc", "bad allocation", "failed to allocate")
    return any(word in str(error).lower() for word in words)
