"""How many pixels a picture may have, checked by its header before any pixel is decoded."""

from pathlib import Path

from srquant.errors import ImageError

MOST_WHOLE = 2**27
"""Pixels of a picture that is in memory as a whole: 11585 x 11585."""


def check_whole(path: Path, height: int, width: int, most: int = MOST_WHOLE) -> None:
    """Check a picture that will be in memory as a whole.

    Raises:
        ImageError: it has more than ``most`` pixels.
    """
    if height * width > most:
        raise ImageError(
            f"{path} has {width} x {height} pixels, and more than {most} are not read at once: cut it into parts"
        )
