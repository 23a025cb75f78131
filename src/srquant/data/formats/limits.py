"""How many pixels a picture may have, checked by its header before any pixel is decoded."""

from pathlib import Path

from srquant.data.formats.kinds import Format
from srquant.errors import ImageError

MOST_WHOLE = 2**27
"""Pixels of a picture that is in memory as a whole: 11585 x 11585."""


MOST_PER_BYTE = 30_000
"""Pixels that a byte of a file can stand for; in the formats of ``ANY_RATIO`` one plain colour has no limit."""

ANY_RATIO = (Format.WEBP, Format.AVIF, Format.HEIC, Format.JXL)

ALWAYS = 2**24
"""Pixels that any file may claim."""


def check_claim(path: Path, kind: Format, height: int, width: int) -> None:
    """Check that a file is long enough for the pixels that its header claims, before memory for them is taken.

    Raises:
        ImageError: it isn't.
    """
    size = path.stat().st_size
    if kind not in ANY_RATIO and height * width > max(ALWAYS, MOST_PER_BYTE * size):
        raise ImageError(
            f"{path} is damaged, it claims {width} x {height} pixels in {size} bytes: replace the file or leave it out"
        )


def check_whole(path: Path, height: int, width: int, most: int = MOST_WHOLE) -> None:
    """Check a picture that will be in memory as a whole.

    Raises:
        ImageError: it has more than ``most`` pixels.
    """
    if height * width > most:
        raise ImageError(
            f"{path} has {width} x {height} pixels, and more than {most} are not read at once: cut it into parts, or "
            "allow more with --max-pixels"
        )
