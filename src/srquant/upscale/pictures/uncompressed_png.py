"""Write rows of pixels as an uncompressed PNG file, which libvips reads back from top to bottom in little memory.

A file of raw rows would need more memory: libvips maps it as a whole.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from srquant.upscale.pictures.rows import Pixels

COLOUR_TYPE = {1: 0, 3: 2}
CHUNK_ROWS = 64


def write_stored_png(file: BinaryIO, blocks: Iterable[Pixels], height: int, width: int) -> None:
    """Write ``height`` rows, given as blocks of ``n x width x 1 or 3``, uint8 or uint16.

    Format: W3C Portable Network Graphics, sections 5, 7 and 10; each row has filter type 0.
    """
    file.write(b"\x89PNG\r\n\x1a\n")
    stream = zlib.compressobj(level=0)
    for index, block in enumerate(blocks):
        if index == 0:
            bits, colour = 8 * block.itemsize, COLOUR_TYPE[block.shape[2]]
            write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
        for top in range(0, len(block), CHUNK_ROWS):
            write_chunk(file, b"IDAT", stream.compress(with_filter_type(block[top : top + CHUNK_ROWS])))
    write_chunk(file, b"IDAT", stream.flush())
    write_chunk(file, b"IEND", b"")


def with_filter_type(rows: Pixels) -> bytes:
    """Big-endian bytes of rows, each row preceded by filter type 0."""
    big_endian = rows.astype(rows.dtype.newbyteorder(">"), copy=False).reshape(len(rows), -1)
    return np.pad(big_endian.view(np.uint8), ((0, 0), (1, 0))).tobytes()


def write_chunk(file: BinaryIO, kind: bytes, data: bytes) -> None:
    """Write a PNG chunk: length, kind, data, checksum."""
    file.write(struct.pack(">I", len(data)) + kind)
    file.write(data)
    file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
