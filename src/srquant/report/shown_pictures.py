"""The pictures that a page shows: every version of each, and where they differ most."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srquant.data import vips
from srquant.data.images import png_bytes
from srquant.data.vips import pyvips
from srquant.report.crops import Box, Pixels
from srquant.report.most_different import most_different

MOST_PIXELS = 8_000_000
"""Of all versions of all shown pictures together; about 14 MB of a page."""

LARGEST = 640
"""Side in pixels of the part that is shown of a larger picture."""

SIDE, BOXES = 48, 3
"""Side of the squares where versions differ most, and their number."""


@dataclass(frozen=True)
class Picture:
    """A picture in all its versions.

    Attributes:
        name: of the picture.
        versions: in the order of the page's labels, ``H x W x 3``, 8 bit, all of the same size.
        compared: positions of the versions among which differences are looked for.
    """

    name: str
    versions: tuple[Pixels, ...]
    compared: tuple[int, ...]


@dataclass(frozen=True)
class ShownPicture:
    """A picture as a page has it.

    Attributes:
        name: of the picture.
        height: in pixels.
        width: in pixels.
        part: where it lies in the whole picture, such as ``640x640 at 12, 300``; None for the whole picture.
        versions: as ``data:`` addresses.
        boxes: where the versions differ most.
    """

    name: str
    height: int
    width: int
    part: str | None
    versions: tuple[str, ...]
    boxes: tuple[Box, ...]


def shown_picture(picture: Picture) -> ShownPicture:
    """Find where the versions differ most, cut a large picture to this part, and encode all versions."""
    whole = picture.versions[0].shape[:2]
    window = _window(picture)
    versions = [_cut(version, window) for version in picture.versions]
    height, width = versions[0].shape[:2]
    part = None if (height, width) == whole else f"{height}x{width} at row {window[0]}, column {window[1]}"
    boxes = most_different([versions[i] for i in picture.compared], SIDE, BOXES)
    return ShownPicture(picture.name, height, width, part, tuple(map(data_uri, versions)), tuple(boxes))


def how_many(sizes: Sequence[tuple[int, int]], versions: int) -> int:
    """How many of the pictures a page can show; at least one.

    Args:
        sizes: height and width of each.
        versions: of each picture.
    """
    shown, pixels = 0, 0
    for height, width in sizes:
        pixels += versions * min(height, LARGEST) * min(width, LARGEST)
        if pixels > MOST_PIXELS:
            break
        shown += 1
    return max(1, shown)


def _window(picture: Picture) -> tuple[int, int, int, int]:
    """Top, left, height and width of the part that is shown."""
    height, width = picture.versions[0].shape[:2]
    if max(height, width) <= LARGEST:
        return 0, 0, height, width
    box = most_different([picture.versions[i] for i in picture.compared], LARGEST, 1)[0]
    high, wide = min(height, LARGEST), min(width, LARGEST)
    return min(box.top, height - high), min(box.left, width - wide), high, wide


def _cut(picture: Pixels, window: tuple[int, int, int, int]) -> Pixels:
    top, left, height, width = window
    return picture[top : top + height, left : left + width]


def data_uri(picture: Pixels) -> str:
    """A picture without loss as a ``data:`` address: WebP, or PNG where libvips isn't installed.

    Args:
        picture: ``H x W x 3``, 8 bit.
    """
    kind, content = ("webp", _webp(picture)) if vips.WORKS else ("png", png_bytes(picture))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _webp(picture: Pixels) -> bytes:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(picture), interpretation="srgb")
    content: bytes = image.webpsave_buffer(lossless=True)
    return content
