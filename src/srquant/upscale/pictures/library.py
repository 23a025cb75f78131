"""Read and write pictures with pyvips, or with Pillow where pyvips can't be loaded."""

from pathlib import Path

from srquant.data import vips
from srquant.upscale.pictures import read, write
from srquant.upscale.pictures.hidden_colours import VisibleColours
from srquant.upscale.pictures.metadata.finish import finish
from srquant.upscale.pictures.pillow_picture import PillowPicture, encode_with_pillow, open_with_pillow
from srquant.upscale.pictures.read import Picture, PictureRows
from srquant.upscale.pictures.reading import Reading
from srquant.upscale.pictures.rows import ArrayRows, Rows

AnyPicture = Picture | PillowPicture


USUAL = Reading()


def open_picture(path: Path, reading: Reading = USUAL) -> AnyPicture:
    """Open a picture; see ``read.open_picture`` and ``open_with_pillow``."""
    return read.open_picture(path, reading) if vips.WORKS else open_with_pillow(path, reading)


def rows_of(picture: AnyPicture) -> Rows:
    """The picture's rows of colours, from top to bottom; where they are hidden they follow what is visible."""
    if isinstance(picture, PillowPicture):
        return ArrayRows(picture.pixels)
    return VisibleColours(PictureRows(picture)) if picture.has_alpha else PictureRows(picture)


def encode(
    stored: Path, picture: AnyPicture, scale: int, suffix: str, target: Path, quality: int | None = None
) -> None:
    """Write a picture file with what its source says beside the pixels; see ``write.encode``."""
    if isinstance(picture, PillowPicture):
        encode_with_pillow(stored, picture, scale, suffix, target, quality)
    else:
        write.encode(stored, picture, scale, suffix, target, quality)
    finish(target, suffix, picture.carried, scale * picture.height, scale * picture.width)
