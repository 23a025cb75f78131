"""Open picture files with libvips: the loader is chosen here, by the content, and nothing in a name is an option."""

import logging
import os
from pathlib import Path
from typing import Literal

import numpy as np

from srquant.data import pillow
from srquant.data.formats import tiff_colours
from srquant.data.formats.jpeg_end import END, has_all_scans, has_end, stripped
from srquant.data.formats.kinds import Format, format_of
from srquant.data.formats.limits import check_claim
from srquant.data.formats.readable import LOADERS, is_readable, unreadable_here
from srquant.data.vips import pyvips
from srquant.errors import ImageError

OTHER_BITS = (b"\xfe" * 64, b"\x55" * 64, b"\xaa" * 64)
"""What could continue a scan of a JPEG file; a byte of eight ones would begin a marker."""

Access = Literal["sequential", "random"]
"""``sequential`` pictures can be read once, from top to bottom, in little memory."""


def load(path: Path, access: Access = "random", tolerant: bool = False) -> pyvips.Image:
    """Open a picture; its pixels are not decoded yet.

    Args:
        path: the file; its content decides the format, not its suffix.
        access: how it will be read.
        tolerant: whether a JPEG file may lack its end marker, which a warning tells.

    Raises:
        ImageError: missing, empty, of no known format, or of one that can't be read here.
        pyvips.Error: damaged, found now or when pixels are read.
    """
    kind = format_of(path)
    if not is_readable(kind):
        raise ImageError(f"can't read {path}: {unreadable_here(kind)}")
    image = load_kind(path, kind, access, tolerant)
    check_claim(path, kind, image.height, image.width)
    return image


def load_kind(path: Path, kind: Format, access: Access, tolerant: bool) -> pyvips.Image:
    """Open a picture of a known format; arguments and errors as ``load``."""
    if kind is Format.BMP:
        return from_pillow(path)
    if kind is Format.TIFF:
        return load_tiff(path, access)
    if kind is Format.JPEG and tolerant:
        return load_tolerant(path, access)
    return from_file(path, kind, access)


def from_file(path: Path, kind: Format, access: Access) -> pyvips.Image:
    """Open a file with the loader of its format, by the bytes of its name, which need not be UTF-8."""
    source = pyvips.Source.new_from_file(os.fsencode(path))
    return pyvips.Operation.call(f"{LOADERS[kind]}_source", source, access=access, fail_on="error")


def from_bytes(content: bytes, kind: Format, access: Access) -> pyvips.Image:
    """Open the content of a file, which libvips copies, with the loader of its format."""
    return pyvips.Operation.call(f"{LOADERS[kind]}_buffer", content, access=access, fail_on="error")


def load_tiff(path: Path, access: Access) -> pyvips.Image:
    """Open a TIFF file, with colours that libvips doesn't know turned into such that it knows."""
    tags = tiff_colours.first_directory(path)
    if tiff_colours.is_lab_of_8_bits(tags):
        return tiff_colours.lab_from_bytes(from_bytes(tiff_colours.as_rgb_bytes(path, tags), Format.TIFF, access))
    image = from_file(path, Format.TIFF, access)
    return tiff_colours.rgb_from_ycbcr(path, image, tags) if tiff_colours.is_plain_ycbcr(tags) else image


def load_tolerant(path: Path, access: Access) -> pyvips.Image:
    """Open a JPEG file that may lack its end marker; missing pixels are an error all the same."""
    content = path.read_bytes()
    if has_end(content):
        return from_file(path, Format.JPEG, access)
    content = stripped(content)
    if not (has_all_scans(content) and has_all_pixels(content)):
        raise ImageError(f"can't read {path} as a picture (its end is missing): replace the file or leave it out")
    logging.getLogger("srquant").warning(f"{path} lacks its end marker; read as if it were there")
    return from_bytes(content + END, Format.JPEG, access)


def has_all_pixels(content: bytes) -> bool:
    """Whether the pixels of a JPEG file without end marker don't depend on what would follow.

    A decoder takes zeros for bits that are missing, so other bits in their place change the picture.
    """
    return not any(differs(content + END, content + bits + END) for bits in OTHER_BITS)


def differs(first: bytes, second: bytes) -> bool:
    """Whether two JPEG files of one size have different pixels."""
    images = [from_bytes(content, Format.JPEG, "sequential") for content in (first, second)]
    return bool((images[0] != images[1]).max())


def from_pillow(path: Path) -> pyvips.Image:
    """A picture that Pillow decodes as a whole, gray or RGB with or without alpha."""
    with pillow.opened(path) as image:
        kept = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
        return pyvips.Image.new_from_array(np.atleast_3d(np.array(kept)))


def unreadable(path: Path, error: pyvips.Error) -> ImageError:
    """The error for a file that libvips can't read."""
    detail = str(error.detail).strip().splitlines()
    reason = detail[-1] if detail else error.message
    return ImageError(f"can't read {path} as a picture ({reason}): replace the file or leave it out")
