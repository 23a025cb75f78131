"""Read and write pictures with Pillow, where pyvips can't be loaded. Pictures are in memory as a whole."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srquant.data.formats.kinds import format_of
from srquant.data.formats.limits import MOST_WHOLE, check_whole
from srquant.data.formats.readable import PILLOW_NAMES, is_readable, unreadable_here
from srquant.errors import EngineError, ImageError, SRQuantError

ORIENTATION = 0x0112
"""The EXIF tag."""


@contextmanager
def opened(path: Path, most: int = MOST_WHOLE) -> Iterator[Any]:
    """The first frame of a picture, after EXIF orientation; arguments and errors as ``opened_as_stored``."""
    with opened_as_stored(path, most) as image:
        yield upright(image)


def upright(image: Any) -> Any:
    """A picture after EXIF orientation; Pillow's own function writes the EXIF anew, and fails where it is damaged."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(image.getexif().get(ORIENTATION))
    return image if turn is None else image.transpose(turn)


@contextmanager
def opened_as_stored(path: Path, most: int = MOST_WHOLE) -> Iterator[Any]:
    """The first frame of a picture; its pixels are not decoded yet.

    Args:
        path: the file; its content decides the format, not its suffix.
        most: pixels that the picture may have.

    Raises:
        EngineError: Pillow isn't installed either.
        ImageError: missing, not a picture, of a format that can't be read here, too large, truncated or damaged.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise EngineError("neither pyvips nor Pillow can be loaded: pip install 'pyvips[binary]' or pillow") from error
    kind = format_of(path)
    if kind not in PILLOW_NAMES or not is_readable(kind):
        raise ImageError(f"can't read {path}: {unreadable_here(kind)}")
    try:
        with Image.open(path, formats=(PILLOW_NAMES[kind],)) as image:
            check_whole(path, image.height, image.width, most)
            yield image
    except (SRQuantError, MemoryError):
        raise
    except Exception as error:  # Pillow's errors for damaged files have no common base
        raise ImageError(f"can't read {path} as a picture ({error}): replace the file or leave it out") from None


def size(path: Path) -> tuple[int, int]:
    """Height and width; see ``opened``."""
    with opened(path) as image:
        return image.height, image.width


def read_rgb(path: Path, most: int = MOST_WHOLE) -> NDArray[np.uint8]:
    """``H x W x 3``, 8 bit, as ``images.read_rgb``; but of 16-bit colours the lower byte is dropped."""
    with opened(path, most) as image:
        if image.mode.startswith("I;16"):
            image = image.point(lambda value: (value + 128) / 257).convert("L")
        pixels: NDArray[np.uint8] = np.array(without_alpha(image).convert("RGB"))
    return pixels


def without_alpha(image: Any) -> Any:
    """The picture without its transparency, which is dropped, not blended; palettes are expanded."""
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert({"RGBA": "RGB", "LA": "L"}.get(image.mode, image.mode))


def png_bytes(image: NDArray[np.uint8]) -> bytes:
    """``H x W x 3``, 8 bit, as the content of a PNG file."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(content, "PNG")
    return content.getvalue()
