"""One picture file to its upscaled picture file, in bounded memory."""

from collections.abc import Callable
from pathlib import Path

from srquant.errors import OutputError
from srquant.upscale.encode import check_format, encode
from srquant.upscale.engines import Engine
from srquant.upscale.pictures import Picture, PictureRows, open_picture
from srquant.upscale.spans import TileSize
from srquant.upscale.staging import make_folder, remove_stale, staged
from srquant.upscale.tiles import upscale_rows

RowsDone = Callable[[int, int], None]
"""Told the input rows done so far and those of the whole picture."""


def upscale_file(
    engine: Engine,
    source: Path,
    target: Path,
    overwrite: bool = False,
    tile: TileSize = "auto",
    progress: RowsDone = lambda done, total: None,
) -> None:
    """Upscale a picture; alpha, grayscale, 16 bit, EXIF and ICC profile survive where the target's format has them.

    The target appears whole or not at all.

    Args:
        engine: what runs the network.
        source: PNG, JPEG, WebP, TIFF or a GIF of one frame, told by its content.
        target: its suffix decides the format; folders are made.
        overwrite: whether an existing target may be replaced.
        tile: side of a tile in input pixels, or ``auto``.
        progress: called after each row of tiles.

    Raises:
        ImageError: the source can't be read.
        OutputError: the target exists, is the source, can't hold the picture, or can't be written.
    """
    picture = open_picture(source)
    check_format(picture, target, engine.network.facts.scale)
    check_target(source, target, overwrite)
    make_folder(target.parent)
    remove_stale(target.parent)
    with staged(target) as path:
        write_picture(engine, picture, target.suffix.lower(), path, tile, progress)
        path.replace(target)


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Refuse to lose a file.

    Raises:
        OutputError: the target is the source, a folder, or exists without leave to replace it.
    """
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name the picture to write")
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target} is the picture to read: write to another name")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists: use --overwrite to replace it, or write to another name")


def write_picture(
    engine: Engine, picture: Picture, suffix: str, path: Path, tile: TileSize, progress: RowsDone
) -> None:
    """Upscale ``picture`` into the file ``path``, by way of a file of raw rows beside it."""
    scale, done = engine.network.facts.scale, 0
    with staged(path) as raw:
        with raw.open("wb") as file:
            for rows in upscale_rows(engine, PictureRows(picture), tile):
                file.write(rows.data)
                done += len(rows) // scale
                progress(done, picture.height)
        encode(raw, picture, scale, suffix, path)
