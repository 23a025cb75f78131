"""Segments of JPEG files beside the pixels (ITU-T T.81, B.2; JFIF 1.02)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

START, FIRST_SCAN = b"\xff\xd8", 0xDA
APP0, APP1, COMMENT = 0xE0, 0xE1, 0xFE
JFIF, EXIF = b"JFIF\0", b"Exif\0\0"
MILLIMETRES = {1: 25.4, 2: 10.0}
LONGEST = 65533


@dataclass(frozen=True)
class Head:
    """What stands before the pixels; see ``Carried``."""

    exif: bytes | None
    resolution: tuple[float, float] | None
    comments: tuple[str, ...]


def read(path: Path) -> Head:
    """EXIF, resolution and comments of a file."""
    with path.open("rb") as file:
        found = list(segments(file))
    exif = next((data[len(EXIF) :] for marker, data in found if marker == APP1 and data.startswith(EXIF)), None)
    jfif = next((data for marker, data in found if marker == APP0 and data.startswith(JFIF)), b"")
    texts = tuple(decoded(data) for marker, data in found if marker == COMMENT)
    return Head(exif, resolution(jfif), texts)


def segments(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the first scan."""
    file.seek(len(START))
    while len(header := file.read(4)) == 4 and header[0] == 0xFF and header[1] != FIRST_SCAN:
        if header[1] == 0xFF:
            file.seek(-3, 1)
            continue
        yield header[1], file.read(max(0, int.from_bytes(header[2:], "big") - 2))


def resolution(jfif: bytes) -> tuple[float, float] | None:
    """Pixels per millimetre, to the right and down; None without a unit."""
    if len(jfif) < 12 or jfif[7] not in MILLIMETRES:
        return None
    across, down = struct.unpack(">HH", jfif[8:12])
    unit = MILLIMETRES[jfif[7]]
    return (across / unit, down / unit) if across and down else None


def decoded(text: bytes) -> str:
    """A comment: UTF-8, or else Latin-1."""
    try:
        return text.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        return text.rstrip(b"\0").decode("latin-1")


def head(exif: bytes | None, pixels_per_mm: tuple[float, float] | None, comments: tuple[str, ...]) -> bytes:
    """The start of a file; what is longer than a segment may be is left out."""
    parts = [(APP0, jfif(pixels_per_mm))]
    if exif is not None:
        parts.append((APP1, EXIF + exif))
    parts += [(COMMENT, text.encode()) for text in comments]
    return START + b"".join(segment(marker, data) for marker, data in parts if len(data) <= LONGEST)


def jfif(pixels_per_mm: tuple[float, float] | None) -> bytes:
    """The content of a JFIF segment."""
    if pixels_per_mm is None:
        return JFIF + struct.pack(">HBHHBB", 0x0102, 0, 1, 1, 0, 0)
    across, down = (max(1, min(65535, round(25.4 * value))) for value in pixels_per_mm)
    return JFIF + struct.pack(">HBHHBB", 0x0102, 1, across, down, 0, 0)


def segment(marker: int, data: bytes) -> bytes:
    """A segment as it stands in a file."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def head_length(path: Path) -> int:
    """Bytes of the start and of the JFIF segment of a file that was just written."""
    with path.open("rb") as file:
        start = file.read(20)
    is_jfif = start[2:4] == bytes((0xFF, APP0)) and start[6:11] == JFIF
    return 4 + int.from_bytes(start[4:6], "big") if is_jfif else 2
