"""Pictures read and written by Pillow, where pyvips can't be loaded: 8-bit gray and RGB, in memory as a whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srquant.data.pillow import opened
from srquant.errors import ImageError
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
    """

    path: Path
    pixels: Pixels
    profile: bytes | None
    has_alpha = False

    @property
    def height(self) -> int:
        """Rows of pixels, after EXIF orientation."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Pixels in a row, after EXIF orientation."""
        return int(self.pixels.shape[1])


def open_with_pillow(path: Path) -> PillowPicture:
    """Read a picture.

    Raises:
        ImageError: missing, damaged, animated, or not 8-bit gray or RGB, which only pyvips keeps.
    """
    with opened(path) as image:
        if getattr(image, "n_frames", 1) > 1 or image.mode not in ("L", "RGB"):
            raise ImageError(
                f"{path} is no single 8-bit gray or RGB picture (mode {image.mode}), and pyvips, which reads others, "
                "can't be loaded: pip install 'pyvips[binary]', or convert the picture"
            )
        pixels = np.atleast_3d(np.array(image))
        return PillowPicture(path, pixels, image.info.get("icc_profile"))


def encode_with_pillow(stored: Path, picture: PillowPicture, suffix: str, target: Path) -> None:
    """Write a picture file with the source's ICC profile.

    Args:
        stored: PNG file of the upscaled picture.
        picture: the source.
        suffix: of the format, e.g. ``.png``.
        target: file to write; its name doesn't decide the format.
    """
    name, options = SAVED[suffix]
    kept = {} if picture.profile is None else {"icc_profile": picture.profile}
    with opened(stored) as image:
        image.save(target, name, **options, **kept)
