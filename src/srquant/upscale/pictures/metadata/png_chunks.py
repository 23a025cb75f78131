"""Chunks of PNG files beside the pixels (W3C Portable Network Graphics, section 11.3)."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from srquant.errors import ImageError

SIGNATURE = 8
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"cICP")
KEPT = (*COLOURS, b"pHYs", b"eXIf", *TEXTS)
COMMENTS = (b"Comment", b"Description")
"""Texts that mean the same as comments in other formats."""

MOST_TEXT = 2**26
"""Bytes of all kept chunks of a file."""


@dataclass(frozen=True)
class Chunk:
    """A chunk: its kind of four letters, and its content."""

    kind: bytes
    data: bytes

    @property
    def stored(self) -> bytes:
        """The chunk as it stands in a file."""
        checksum = zlib.crc32(self.data, zlib.crc32(self.kind))
        return struct.pack(">I", len(self.data)) + self.kind + self.data + struct.pack(">I", checksum)

    @property
    def name(self) -> bytes:
        """What makes the chunk the same as another: the name of a text, or the kind."""
        return self.data.split(b"\0")[0] if self.kind in TEXTS else self.kind


def read(path: Path) -> tuple[Chunk, ...]:
    """The chunks that are kept, before and after the pixels.

    Raises:
        ImageError: they are larger than any text.
    """
    chunks, size = [], 0
    with path.open("rb") as file:
        for kind, length in headers(file):
            if kind in KEPT:
                size += length
                if size > MOST_TEXT:
                    raise ImageError(f"{path} has more than {MOST_TEXT} bytes of text: remove them, or save it anew")
                chunks.append(Chunk(kind, file.read(length)))
    return tuple(chunks)


def headers(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Kind and length of each chunk; the file is at its content then, which need not be read."""
    at = SIGNATURE
    file.seek(at)
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        yield kind, length
        at += length + 12
        file.seek(at)


def resolution(chunks: Sequence[Chunk]) -> tuple[float, float] | None:
    """Pixels per millimetre, to the right and down; None without a unit."""
    for chunk in chunks:
        if chunk.kind == b"pHYs" and len(chunk.data) == 9 and chunk.data[8] == 1:
            across, down = struct.unpack(">II", chunk.data[:8])
            return across / 1000, down / 1000
    return None


def comments(chunks: Sequence[Chunk]) -> tuple[str, ...]:
    """Texts that other formats can hold."""
    found = [(chunk.kind, chunk.data.split(b"\0", 1)[1]) for chunk in chunks if chunk.name in COMMENTS]
    plain = [text.decode("latin-1") for kind, text in found if kind == b"tEXt"]
    return (*plain, *(international(text) for kind, text in found if kind == b"iTXt" and text[:1] == b"\0"))


def international(text: bytes) -> str:
    """The text of an ``iTXt`` chunk that isn't compressed, after its name."""
    return text[2:].split(b"\0", 2)[-1].decode("utf-8", errors="replace")


def comment_chunk(text: str) -> Chunk:
    """A comment as a chunk."""
    return Chunk(b"iTXt", b"Comment\0\0\0\0\0" + text.encode())


def xmp_chunk(packet: bytes) -> Chunk:
    """XMP as a chunk; libvips would compress it under another kind, where readers don't look for it."""
    return Chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)


def resolution_chunk(pixels_per_mm: tuple[float, float]) -> Chunk:
    """A resolution as a chunk."""
    across, down = (min(2**31 - 1, round(1000 * value)) for value in pixels_per_mm)
    return Chunk(b"pHYs", struct.pack(">IIB", across, down, 1))


def head_length(path: Path) -> tuple[tuple[Chunk, ...], int]:
    """The chunks before the pixels of a file that was just written, and the position where pixels begin."""
    chunks: list[Chunk] = []
    with path.open("rb") as file:
        for kind, length in headers(file):
            if kind == b"IDAT":
                return tuple(chunks), file.tell() - 8
            chunks.append(Chunk(kind, file.read(length)))
    raise AssertionError(f"{path} has no pixels")


def new_head(written: Sequence[Chunk], added: Sequence[Chunk]) -> bytes:
    """The chunks of a file, with others after the first one; of those of one name the written one stays.

    The resolution that a library wrote is left out, and so is the word that colours are sRGB beside a profile.
    """
    there = [chunk for chunk in written if chunk.kind != b"pHYs"]
    names = {chunk.name for chunk in there}
    if b"iCCP" in names:
        names.add(b"sRGB")
    new = [chunk for chunk in added if chunk.name not in names]
    return b"".join(chunk.stored for chunk in (there[0], *new, *there[1:]))
