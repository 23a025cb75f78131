"""Read picture files as 8-bit RGB."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srquant.data import pillow, vips
from srquant.data.formats.limits import MOST_WHOLE, check_whole
from srquant.data.formats.load import load, unreadable
from srquant.data.vips import pyvips
from srquant.errors import ImageError


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture as ``read_rgb`` returns it, from its header.

    Raises:
        ImageError: as ``read_rgb``.
    """
    if not vips.WORKS:
        return pillow.size(path)
    try:
        image = _open(path)
    except pyvips.Error as error:
        raise unreadable(path, error) from None
    return image.height, image.width


def read_rgb(path: Path, most: int = MOST_WHOLE) -> NDArray[np.uint8]:
    """Read a picture of any kind as RGB.

    Gray becomes three equal colours, palettes are expanded, CMYK is converted, alpha is dropped (not blended), 16 bits
    are reduced to 8 (65535 becomes 255), EXIF orientation is applied. Of an animation the first frame is read. Embedded
    RGB profiles are ignored.

    Args:
        path: the file; its content decides the format, not its suffix.
        most: pixels that the picture may have.

    Returns:
        ``H x W x 3``, 8 bit.

    Raises:
        ImageError: missing, not a picture, larger than ``most``, truncated, damaged, or with values that are not
            finite.
    """
    if not vips.WORKS:
        return pillow.read_rgb(path, most)
    try:
        opened = _open(path)
        check_whole(path, opened.height, opened.width, most)
        array, broken = _to_rgb(opened).numpy(), not _is_finite(opened)
    except pyvips.Error as error:
        raise unreadable(path, error) from None
    if broken:
        raise ImageError(f"{path} has pixels that are not a finite number: replace the file or leave it out")
    if array.dtype == np.uint16:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    image: NDArray[np.uint8] = np.ascontiguousarray(array)
    return image


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """``H x W x 3``, 8 bit, as the content of a PNG file."""
    if not vips.WORKS:
        return pillow.png_bytes(image)
    content: bytes = pyvips.Image.new_from_array(np.ascontiguousarray(image), interpretation="srgb").pngsave_buffer()
    return content


def _open(path: Path) -> pyvips.Image:
    return load(path).autorot()


def _to_rgb(image: pyvips.Image) -> pyvips.Image:
    """Three bands, 8 bit or 16 bit."""
    if image.hasalpha():
        image = image[: image.bands - 1]
    if image.format == "ushort" and image.interpretation in ("rgb16", "grey16"):
        return image if image.bands == 3 else image[0].bandjoin([image[0], image[0]])
    return image.colourspace("srgb").cast("uchar")[:3]


def _is_finite(image: pyvips.Image) -> bool:
    """Tests ``x - x == 0``, which is false for NaN and infinity."""
    return image.format not in ("float", "double") or bool(((image - image) == 0).min() > 0)
