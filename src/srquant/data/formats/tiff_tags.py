"""The tags of the first picture of a TIFF file, and those of EXIF, which has the same form.

TIFF 6.0, section 2, and BigTIFF. Only numbers that stand in a tag itself, or a few beside it, are read.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

SIZES = {1: 1, 3: 2, 4: 4, 13: 4, 16: 8}
"""Bytes of a number, by its type: BYTE, SHORT, LONG, IFD, LONG8."""

RATIONAL = 5
"""The type of a fraction: numerator and denominator, each a LONG."""

MOST_VALUES = 16
MOST_TAGS = 4096


@dataclass(frozen=True)
class Layout:
    """How a file writes numbers.

    Attributes:
        order: ``<`` or ``>``, as in ``struct``.
        big: whether it is BigTIFF, with 64-bit positions.
    """

    order: str
    big: bool

    def number(self, data: bytes) -> int:
        """An unsigned number."""
        return int.from_bytes(data, "little" if self.order == "<" else "big")

    @property
    def entry(self) -> int:
        """Bytes of a tag: number, type, count, and the value or its position."""
        return 20 if self.big else 12

    @property
    def position(self) -> int:
        """Bytes of a position or a count."""
        return 8 if self.big else 4


@dataclass(frozen=True)
class Tag:
    """A tag with numbers.

    Attributes:
        at: position of the tag in the file.
        values: its numbers, of a fraction both; empty if they are of another type, or too many.
    """

    at: int
    values: tuple[int, ...]


@dataclass(frozen=True)
class Directory:
    """The tags of one picture.

    Attributes:
        layout: how the file writes numbers.
        at: position of the directory.
        tags: by their numbers.
    """

    layout: Layout
    at: int
    tags: Mapping[int, Tag]

    def values(self, number: int) -> tuple[int, ...]:
        """The numbers of a tag; empty if it isn't there."""
        return self.tags[number].values if number in self.tags else ()

    def first(self, number: int, default: int) -> int:
        """The first number of a tag."""
        return (*self.values(number), default)[0]


def read_directory(file: BinaryIO, at: int | None = None) -> Directory | None:
    """Read the tags of the first picture, or of the directory at a position; None if the file is damaged."""
    try:
        layout, first = read_header(file)
        return read_tags(file, layout, first if at is None else at)
    except (ValueError, struct.error, OverflowError, OSError):  # the last two for positions that no file has
        return None


def read_header(file: BinaryIO) -> tuple[Layout, int]:
    """How the file writes numbers, and the position of its first directory.

    Raises:
        ValueError: it is no TIFF file.
    """
    file.seek(0)
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        raise ValueError("no TIFF file")
    layout = Layout(order, big=struct.unpack(f"{order}H", start[2:4])[0] == 43)
    return layout, layout.number(start[8:16] if layout.big else start[4:8])


def read_tags(file: BinaryIO, layout: Layout, at: int) -> Directory:
    """Read a directory.

    Raises:
        ValueError: it ends early, or has an absurd number of tags.
    """
    file.seek(at)
    width = 8 if layout.big else 2
    start = file.read(width)
    count = layout.number(start)
    data = file.read(min(count, MOST_TAGS) * layout.entry)
    if len(start) < width or count > MOST_TAGS or len(data) < count * layout.entry:
        raise ValueError("damaged directory")
    tags = {}
    for place in range(0, len(data), layout.entry):
        entry = data[place : place + layout.entry]
        tags[layout.number(entry[:2])] = Tag(at + width + place, read_values(file, layout, entry))
    return Directory(layout, at, tags)


def read_values(file: BinaryIO, layout: Layout, entry: bytes) -> tuple[int, ...]:
    """The numbers of a tag."""
    kind, wide = layout.number(entry[2:4]), layout.position
    count, data = layout.number(entry[4 : 4 + wide]), entry[4 + wide :]
    if kind == RATIONAL:
        kind, count = 4, 2 * count
    size = SIZES.get(kind)
    if size is None or count > MOST_VALUES:
        return ()
    if count * size > wide:
        file.seek(layout.number(data))
        data = file.read(count * size)
    if len(data) < count * size:
        return ()
    return tuple(layout.number(data[at : at + size]) for at in range(0, count * size, size))
