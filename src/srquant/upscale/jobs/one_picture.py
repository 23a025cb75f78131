"""Upscale one picture file, in bounded memory."""

from collections.abc import Callable
from pathlib import Path

from srquant.errors import OutputError
from srquant.files import remove_stale
from srquant.upscale.engines.branching_engine import engine_for
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.jobs.staging import make_folder, staged, unwritable
from srquant.upscale.pictures.library import USUAL, AnyPicture, encode, open_picture, rows_of
from srquant.upscale.pictures.reading import Reading
from srquant.upscale.pictures.uncompressed_png import write_stored_png
from srquant.upscale.pictures.write import check_format, check_quality
from srquant.upscale.tiles.spans import TileSize
from srquant.upscale.tiles.upscale_tiles import PixelsDone, upscale_rows


def upscale_file(
    engine: Engine,
    source: Path,
    target: Path,
    overwrite: bool = False,
    tile: TileSize = "auto",
    progress: PixelsDone = lambda done, total: None,
    reading: Reading = USUAL,
    quality: int | None = None,
) -> None:
    """Upscale a picture; keeps alpha, grayscale, 16 bit, texts, EXIF and ICC profile if the target's format can.

    The target is written completely or not at all.

    Args:
        engine: runs the network.
        source: a picture of one frame in a format that can be read here, which its content decides, not its suffix.
        target: its suffix decides the format; missing folders are created.
        overwrite: whether an existing target may be replaced.
        tile: side of a tile in input pixels, or ``auto``.
        progress: called after each tile.
        reading: limits of size, and damage that is forgiven.
        quality: of JPEG and WebP, 1..100; None: 95.

    Raises:
        ImageError: the source can't be read, or is too large.
        OutputError: the target exists, is the source, can't hold the picture, has no quality, or can't be written.
    """
    picture = open_picture(source, reading)
    check_format(picture, target, engine.facts.scale)
    check_quality(quality, [target])
    check_target(source, target, overwrite)
    make_folder(target.parent)
    remove_stale(target.parent)
    write_target(engine, picture, target, tile, quality, progress)


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Make sure that no existing file is overwritten by mistake.

    Raises:
        OutputError: the target is the source, a folder, or exists and ``overwrite`` is False, or no file can have its
            name.
    """
    check_name(target)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name the picture to write")
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target} is the picture to read: write to another name")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists: use --overwrite to replace it, or write to another name")


def check_name(target: Path) -> None:
    """Raise an ``OutputError`` if no file can have this name, for instance because it is too long."""
    try:
        target.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(target, error) from error


def write_target(
    engine: Engine,
    picture: AnyPicture,
    target: Path,
    tile: TileSize,
    quality: int | None,
    progress: PixelsDone,
    finished: Callable[[Path], None] = lambda path: None,
) -> None:
    """Upscale ``picture`` to ``target`` as ``upscale_file``.

    ``finished`` is called with the complete file just before it is renamed to ``target``.

    Raises:
        ImageError: the picture is damaged.
        OutputError: the target can't be written.
    """
    make_folder(target.parent)
    scale = engine.facts.scale
    engine = engine_for(engine, lambda: rows_of(open_picture(picture.path, picture.reading)))
    blocks = upscale_rows(engine, rows_of(picture), tile, progress)
    with staged(target) as (path, rows):
        with rows.open("wb") as file:
            write_stored_png(file, blocks, scale * picture.height, scale * picture.width)
        encode(rows, picture, scale, target.suffix.lower(), path, quality)
        finished(path)
