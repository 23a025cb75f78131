"""Comments of GIF files (GIF89a, section 24)."""

from pathlib import Path
from typing import BinaryIO

EXTENSION, COMMENT, PICTURE = 0x21, 0xFE, 0x2C


def read(path: Path) -> tuple[str, ...]:
    """The comments of a file, before and after its first picture."""
    comments = []
    with path.open("rb") as file:
        skip_colours(file, file.read(13)[10:11])
        while (kind := file.read(1)) and kind[0] in (EXTENSION, PICTURE):
            label = file.read(1) if kind[0] == EXTENSION else b""
            if kind[0] == PICTURE:
                skip_colours(file, file.read(9)[8:9])
                file.read(1)
            data = blocks(file)
            if label == bytes((COMMENT,)):
                comments.append(data.decode("utf-8", errors="replace"))
    return tuple(comments)


def skip_colours(file: BinaryIO, flags: bytes) -> None:
    """Go past a table of colours, if these flags announce one."""
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), 1)


def blocks(file: BinaryIO) -> bytes:
    """The content of blocks up to the empty one."""
    parts = []
    while (length := file.read(1)) and length[0]:
        parts.append(file.read(length[0]))
    return b"".join(parts)
