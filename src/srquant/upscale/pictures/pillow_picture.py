"""Pictures read and written by Pillow, where pyvips can't be loaded: 8-bit gray and RGB, in memory as a whole."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from srquant.data.formats.jpeg_end import has_end
from srquant.data.formats.kinds import Format, format_of
from srquant.data.pillow import opened_as_stored, upright
from srquant.errors import ImageError
from srquant.upscale.pictures.metadata.carried import Carried, carried_from
from srquant.upscale.pictures.metadata.exif import for_upright
from srquant.upscale.pictures.reading import Reading
from srquant.upscale.pictures.rows import Pixels

SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 6}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"quality": 95}),
    ".tif": ("TIFF", {"compression": "tiff_lzw"}),
    ".tiff": ("TIFF", {"compression": "tiff_lzw"}),
}
"""Pillow's format and options by suffix."""


@dataclass(frozen=True)
class PillowPicture:
    """A picture in memory; the attributes of ``Picture`` that callers use.

    Attributes:
        path: the file.
        pixels: ``H x W x 1 or 3``, 8 bit.
        profile: its ICC profile, if it has one.
        carried: what the file says beside its pixels.
        reading: how it was read.
    """

    path: Path
    pixels: Pixels
    profile: bytes | None
    carried: Carried
    reading: Reading
    has_alpha = False

    @property
    def height(self) -> int:
        """Rows of pixels, after EXIF orientation."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Pixels in a row, after EXIF orientation."""
        return int(self.pixels.shape[1])


def open_with_pillow(path: Path, reading: Reading) -> PillowPicture:
    """Read a picture.

    Raises:
        ImageError: missing, damaged, too large, animated, or of a kind that only pyvips reads whole and right.
    """
    if reading.tolerant:
        check_end(path)
    with opened_as_stored(path, reading.most_whole) as image:
        check_kept(path, image)
        pixels = np.atleast_3d(np.array(upright(image)))
        return PillowPicture(path, pixels, image.info.get("icc_profile"), carried(path, image), reading)


def check_end(path: Path) -> None:
    """Raise an ``ImageError`` for a JPEG file without its end: Pillow can't tell whether pixels are missing too."""
    if format_of(path) is Format.JPEG and not has_end(path.read_bytes()):
        raise ImageError(f"{path} lacks its end marker: --tolerant needs pyvips: pip install 'pyvips[binary]'")


def check_kept(path: Path, image: Any) -> None:
    """Raise an ``ImageError`` for what Pillow would read as less than it is: alpha, 16 bit, frames, other colours."""
    kind = f"mode {image.mode}"
    if "transparency" in image.info:
        kind = "with transparency"
    elif any(";16" in str(tile[3]) for tile in image.tile):
        kind = "16 bit"
    elif getattr(image, "n_frames", 1) > 1:
        kind = f"{image.n_frames} frames"
    elif image.mode in ("L", "RGB"):
        return
    raise ImageError(
        f"{path} is no single 8-bit gray or RGB picture ({kind}), and pyvips, which reads others, "
        "can't be loaded: pip install 'pyvips[binary]', or convert the picture"
    )


def carried(path: Path, image: Any) -> Carried:
    """What the file says beside its pixels; XMP, and EXIF of WebP and AVIF, come from Pillow."""
    found, exif = replace(carried_from(path), xmp=image.info.get("xmp")), image.info.get("exif")
    if found.exif is None and exif is not None:
        found = replace(found, exif=exif.removeprefix(b"Exif\0\0"))
    return found


def encode_with_pillow(
    stored: Path, picture: PillowPicture, scale: int, suffix: str, target: Path, quality: int | None = None
) -> None:
    """Write a picture file with the source's ICC profile, and what ``finish`` doesn't write.

    Args:
        stored: PNG file of the upscaled picture.
        picture: the source.
        scale: upscaling factor.
        suffix: of the format, e.g. ``.png``.
        target: file to write; its name doesn't decide the format.
        quality: of JPEG and WebP, 1..100; None: that of ``SAVED``.
    """
    from PIL.PngImagePlugin import PngImageFile  # not by Image.open, whose limit of pixels is for unknown files

    name, options = SAVED[suffix]
    if quality is not None and "quality" in options:
        options = options | {"quality": quality}
    kept = {} if picture.profile is None else {"icc_profile": picture.profile}
    with PngImageFile(stored) as image:
        image.save(target, name, **options, **kept, **written_here(picture, scale, name))


def written_here(picture: PillowPicture, scale: int, name: str) -> dict[str, Any]:
    """Pillow's arguments for XMP of JPEG and WebP files, EXIF of WebP files, and resolution of TIFF files."""
    exif, resolution = picture.carried.exif, picture.carried.resolution
    xmp = picture.carried.xmp
    written: dict[str, Any] = {} if xmp is None or name not in ("JPEG", "WEBP") else {"xmp": xmp}
    if name == "WEBP" and exif is not None:
        written["exif"] = for_upright(exif, scale * picture.height, scale * picture.width)
    if name == "TIFF" and resolution is not None:
        written["dpi"] = tuple(25.4 * value for value in resolution)
    return written
