"""Read picture files row by row, with alpha and metadata.

Reads PNG, JPEG, WebP, TIFF and GIF (libvips). Palettes are expanded, CMYK and Lab become sRGB (CMYK by its profile, or
by a standard one), EXIF orientation is applied. Grayscale stays one band, 16 bit stays 16 bit.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from srquant.data.vips import pyvips
from srquant.errors import ImageError
from srquant.upscale.pictures.rows import Pixels

LOADERS = ("pngload", "jpegload", "webpload", "tiffload", "gifload")
READY = ("srgb", "rgb", "b-w", "rgb16", "grey16")


@dataclass(frozen=True)
class Picture:
    """An opened picture; its pixels are not decoded yet.

    Attributes:
        path: the file.
        image: all bands after EXIF orientation, gray or RGB, 8 or 16 bit, possibly with alpha as last band.
    """

    path: Path
    image: pyvips.Image

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

    def colour(self) -> pyvips.Image:
        """The bands without alpha."""
        return self.image[: self.bands]

    def alpha(self) -> pyvips.Image | None:
        """The alpha band, from opening the file once more, so that it can be read independently of the colour bands."""
        return open_picture(self.path).image[self.bands] if self.has_alpha else None


class PictureRows:
    """``Rows`` of a file: reads strips from top to bottom and keeps the last one in memory.

    Raises:
        ImageError: the file is damaged, found while its rows are read.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.height, self.width = picture.height, picture.width
        self.region = pyvips.Region.new(picture.colour())
        self.top = 0
        self.buffer: Pixels = np.empty((0, self.width, picture.bands), picture.dtype)

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
        return pixels.reshape(bottom - top, self.width, self.picture.bands)


def open_picture(path: Path) -> Picture:
    """Open a picture; the content decides the format, not the suffix.

    Raises:
        ImageError: missing, empty, not a picture of a known format, animated, or of samples other than 8 or 16 bit.
    """
    if not path.is_file():
        raise ImageError(f"{path} is not a file: check the name")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty: replace the file or leave it out")
    try:
        image = load(path, "sequential")
        check_frames(path, image)
        if image.get_typeof("orientation") and image.get("orientation") != 1:
            image = load(path, "random").autorot()
        return Picture(path, to_rgb(path, image))
    except pyvips.Error as error:
        raise unreadable(path, error) from None


def load(path: Path, access: Literal["sequential", "random"]) -> pyvips.Image:
    """Open with libvips; ``sequential`` pictures can be read once, from top to bottom, in little memory."""
    image = pyvips.Image.new_from_source(pyvips.Source.new_from_file(str(path)), "", access=access, fail_on="error")
    loader = image.get("vips-loader")
    if not loader.startswith(LOADERS):
        raise ImageError(f"{path} is read by {loader}, which is not supported: convert it to PNG, JPEG, WebP or TIFF")
    return image


def check_frames(path: Path, image: pyvips.Image) -> None:
    """Raise an ``ImageError`` for animations and documents of several pages."""
    frames = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if image.get("vips-loader").startswith("pngload"):
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


def unreadable(path: Path, error: pyvips.Error) -> ImageError:
    """The error for a file that libvips can't read."""
    detail = str(error.detail).strip().splitlines()
    reason = detail[-1] if detail else error.message
    return ImageError(f"can't read {path} as a picture ({reason}): replace the file or leave it out")
