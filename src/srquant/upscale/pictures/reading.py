"""What may be read: limits of size, and damage that is forgiven."""

from dataclasses import dataclass
from pathlib import Path

from srquant.data.formats.limits import MOST_WHOLE
from srquant.errors import ImageError

MOST_OUTPUT = 2**31
"""Pixels of an upscaled picture: 46340 x 46340."""


@dataclass(frozen=True)
class Reading:
    """How pictures are read.

    Attributes:
        most_output: pixels that an upscaled picture may have.
        most_whole: pixels of a picture that its format, or its orientation, forces to be in memory as a whole.
        tolerant: whether a JPEG file may lack its end marker.
    """

    most_output: int = MOST_OUTPUT
    most_whole: int = MOST_WHOLE
    tolerant: bool = False


def check_output(path: Path, height: int, width: int, scale: int, most: int) -> None:
    """Check a picture by its header.

    Raises:
        ImageError: upscaled it would have more than ``most`` pixels.
    """
    if height * width * scale**2 > most:
        raise ImageError(
            f"{path} would become {scale * width} x {scale * height} pixels, more than {most}: "
            "cut it into parts, or allow more with --max-pixels"
        )
