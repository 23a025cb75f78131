"""How ``srquant upscale`` treats each picture, read from its options."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from srquant.cli.options import tile_size
from srquant.errors import InputError

if TYPE_CHECKING:
    from srquant.upscale.pictures.reading import Reading
    from srquant.upscale.tiles.spans import TileSize


@dataclass(frozen=True)
class Choices:
    """What holds for each picture.

    Attributes:
        tile: side of a tile in input pixels, or ``auto``.
        suffix: format of what is written, such as ``.png``; None: decided by the name of the output, or of the input.
        quality: of JPEG and WebP, 1..100; None: the usual one.
        overwrite: whether existing files may be replaced.
        reading: limits of size, and damage that is forgiven.
    """

    tile: "TileSize"
    suffix: str | None
    quality: int | None
    overwrite: bool
    reading: "Reading"


def choices(
    tile: str, suffix: str | None, quality: int | None, overwrite: bool, max_pixels: int | None, tolerant: bool
) -> Choices:
    """The choices that options make.

    Raises:
        InputError: a value that is impossible.
    """
    return Choices(tile_size(tile), format_suffix(suffix), quality, overwrite, reading(max_pixels, tolerant))


def format_suffix(given: str | None) -> str | None:
    """The value of ``--format`` with its dot: ``jpg`` is ``.jpg``.

    Raises:
        InputError: pictures can't be written in this format.
    """
    from srquant.upscale.pictures.write import SAVERS

    if given is None:
        return None
    suffix = f".{given.lower().lstrip('.')}"
    if suffix not in SAVERS:
        raise InputError(f"--format {given}: can't be written; use {', '.join(SAVERS)}")
    return suffix


def reading(max_pixels: int | None, tolerant: bool) -> "Reading":
    """Limits and tolerance; a limit that is given holds for results and for what is read as a whole.

    Raises:
        InputError: the limit isn't positive.
    """
    from srquant.upscale.pictures.reading import Reading

    if max_pixels is None:
        return Reading(tolerant=tolerant)
    if max_pixels < 1:
        raise InputError(f"--max-pixels {max_pixels}: give the most pixels of a result, e.g. 1000000000")
    return Reading(max_pixels, max_pixels, tolerant)
