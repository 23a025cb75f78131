"""Read picture files row by row, with alpha and metadata.

Palettes are expanded, CMYK and Lab become sRGB (CMYK by its profile, or by a standard one), EXIF orientation is
applied. Grayscale stays one band, 16 bit stays 16 bit.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np

from srquant.data.formats.limits import check_whole
from srquant.data.formats.load import load, unreadable
from srquant.data.vips import pyvips
from srquant.errors import ImageError
from srquant.upscale.pictures.metadata.carried import Carried, carried_from
from srquant.upscale.pictures.reading import Reading
from srquant.upscale.pictures.rows import Pixels

WHOLE_LOADERS = ("gifload", "webpload", "heifload", "jxlload")
"""Decode a picture at once, whichever rows are asked for."""

EXIF_START = b"Exif\0\0"
READY = ("srgb", "rgb", "b-w", "rgb16", "grey16")


@dataclass(frozen=True)
class Picture:
    """An opened picture; its pixels are not decoded yet.

    Attributes:
        path: the file.
        image: all bands after EXIF orientation, gray or RGB, 8 or 16 bit, possibly with alpha as last band.
        carried: what the file says beside its pixels.
        reading: how it was read.
    """

    path: Path
    image: pyvips.Image
    carried: Carried
    reading: Reading

    @property
    def height(self) -> int:
        """Rows of pixels, after EXIF orientation."""
        return cast(int, self.image.height)

    @property
    def width(self) -> int:
        """Pixels in a row, after EXIF orientation."""
        return cast(int, self.image.width)

    @property
    def has_alpha(self) -> bool:
        """Whether the last band is transparency."""
        return cast(bool, self.image.hasalpha())

    @property
    def bands(self) -> Literal[1, 3]:
        """Colour bands: 1 for grayscale."""
        return 1 if self.image.bands < 3 else 3

    @property
    def dtype(self) -> type[np.uint8 | np.uint16]:
        """Type of the pixels."""
        return np.uint16 if self.image.format == "ushort" else np.uint8

    def alpha(self) -> pyvips.Image | None:
        """The alpha band, from opening the file once more, so that it can be read independently of the colour bands."""
        return open_picture(self.path, self.reading).image[self.bands] if self.has_alpha else None


class PictureRows:
    """``Rows`` of a file with all its bands: reads strips from top to bottom and keeps the last one in memory.

    Raises:
        ImageError: the file is damaged, found while its rows are read.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.height, self.width = picture.height, picture.width
        self.region = pyvips.Region.new(picture.image)
        self.top = 0
        self.buffer: Pixels = np.empty((0, self.width, picture.image.bands), picture.dtype)

    def read(self, top: int, bottom: int) -> Pixels:
        """Rows ``top..bottom``; ``top`` never decreases."""
        self.buffer = self.buffer[top - self.top :]
        self.top = top
        have = top + len(self.buffer)
        if have < bottom:
            self.buffer = np.concatenate([self.buffer, self.fetch(have, bottom)])
        return self.buffer[: bottom - top]

    def fetch(self, top: int, bottom: int) -> Pixels:
        """Decode the next rows."""
        try:
            data = self.region.fetch(0, top, self.width, bottom - top)
        except pyvips.Error as error:
            raise unreadable(self.picture.path, error) from None
        pixels: Pixels = np.frombuffer(data, self.picture.dtype)
        return pixels.reshape(bottom - top, self.width, self.picture.image.bands)


def open_picture(path: Path, reading: Reading) -> Picture:
    """Open a picture; the content decides the format, not the suffix.

    Raises:
        ImageError: missing, empty, not a picture of a known format, animated, of samples other than 8 or 16 bit, or too
            large for what must be in memory as a whole.
    """
    try:
        image = load(path, "sequential", reading.tolerant)
        check_frames(path, image)
        turned = image.get_typeof("orientation") and image.get("orientation") != 1
        if turned or is_read_whole(image):
            check_whole(path, image.height, image.width, reading.most_whole)
        if turned:
            image = load(path, "random", reading.tolerant).autorot()
        return Picture(path, to_rgb(path, image), carried(path, image), reading)
    except pyvips.Error as error:
        raise unreadable(path, error) from None


def is_read_whole(image: pyvips.Image) -> bool:
    """Whether libvips decodes a picture at once."""
    interlaced = image.get_typeof("interlaced") and image.get("interlaced")
    return bool(interlaced) or loader_of(image).startswith(WHOLE_LOADERS)


def loader_of(image: pyvips.Image) -> str:
    """The name of libvips' loader; empty for what it didn't load."""
    return str(image.get("vips-loader")) if image.get_typeof("vips-loader") else ""


def carried(path: Path, image: pyvips.Image) -> Carried:
    """What the file says beside its pixels; what only libvips finds comes from there."""
    found = carried_from(path)
    if found.exif is None and image.get_typeof("exif-data"):
        found = replace(found, exif=bytes(image.get("exif-data")).removeprefix(EXIF_START))
    if image.get_typeof("xmp-data"):
        found = replace(found, xmp=bytes(image.get("xmp-data")))
    if found.resolution is None and image.get_typeof("resolution-unit"):
        found = replace(found, resolution=(image.xres, image.yres))
    return found


def check_frames(path: Path, image: pyvips.Image) -> None:
    """Raise an ``ImageError`` for animations and documents of several pages."""
    frames = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if loader_of(image).startswith("pngload"):
        frames = apng_frames(path)
    if frames > 1:
        raise ImageError(
            f"{path} has {frames} frames or pages: save each as a separate picture and upscale that folder"
        )


def apng_frames(path: Path) -> int:
    """Number of frames of a PNG file, from its ``acTL`` chunk; 1 without such a chunk."""
    with path.open("rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8:
            length, kind = int.from_bytes(header[:4], "big"), header[4:]
            if kind == b"acTL":
                return int.from_bytes(file.read(4), "big")
            if kind == b"IDAT":
                break
            file.seek(length + 4, 1)
    return 1


def to_rgb(path: Path, image: pyvips.Image) -> pyvips.Image:
    """Gray or RGB with an optional alpha, 8 or 16 bit."""
    if image.format not in ("uchar", "ushort") and image.interpretation not in ("lab", "labs"):
        raise ImageError(f"{path} has {image.format} samples: convert it to 8 or 16 bits per sample")
    if image.interpretation == "cmyk":
        image = image.icc_transform(
            "srgb", embedded=True, input_profile="cmyk", depth=16 if image.format == "ushort" else 8
        )
    elif image.interpretation not in READY:
        image = image.colourspace("rgb16" if image.format == "ushort" else "srgb")
    if image.bands > 4:
        raise ImageError(f"{path} has {image.bands} channels: reduce it to gray or RGB, with or without alpha")
    return image
