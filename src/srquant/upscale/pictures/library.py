"""Read and write pictures with pyvips, or with Pillow where pyvips can't be loaded."""

from pathlib import Path

from srquant.data import vips
from srquant.upscale.pictures import read, write
from srquant.upscale.pictures.pillow_picture import PillowPicture, encode_with_pillow, open_with_pillow
from srquant.upscale.pictures.read import Picture, PictureRows
from srquant.upscale.pictures.rows import ArrayRows, Rows

AnyPicture = Picture | PillowPicture


def open_picture(path: Path) -> AnyPicture:
    """Open a picture; see ``read.open_picture`` and ``open_with_pillow``."""
    return read.open_picture(path) if vips.WORKS else open_with_pillow(path)


def rows_of(picture: AnyPicture) -> Rows:
    """The picture's rows of pixels, from top to bottom."""
    return ArrayRows(picture.pixels) if isinstance(picture, PillowPicture) else PictureRows(picture)


def encode(stored: Path, picture: AnyPicture, scale: int, suffix: str, target: Path) -> None:
    """Write a picture file; see ``write.encode``."""
    if isinstance(picture, PillowPicture):
        encode_with_pillow(stored, picture, suffix, target)
    else:
        write.encode(stored, picture, scale, suffix, target)
