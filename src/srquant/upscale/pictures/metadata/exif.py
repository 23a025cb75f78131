"""EXIF of an upscaled picture: as it was, but upright and with the new size."""

import io
import struct

from srquant.data.formats.tiff_tags import Directory, read_directory

ORIENTATION, DETAILS, WIDTH, HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003
SHORT, LONG = 3, 4


def for_upright(exif: bytes, height: int, width: int) -> bytes:
    """Change the orientation, and the numbers of pixels where they are given; a damaged block stays as it is."""
    file = io.BytesIO(exif)
    first = read_directory(file)
    if first is None:
        return exif
    changed = bytearray(exif)
    put(changed, first, ORIENTATION, 1)
    details = read_directory(file, first.first(DETAILS, 0)) if DETAILS in first.tags else None
    if details is not None:
        put(changed, details, WIDTH, width)
        put(changed, details, HEIGHT, height)
    return bytes(changed)


def put(exif: bytearray, directory: Directory, number: int, value: int) -> None:
    """Write the one number of a tag, if the tag is there."""
    if number in directory.tags:
        at, order = directory.tags[number].at, directory.layout.order
        short = struct.pack(f"{order}HIHH", SHORT, 1, min(value, 65535), 0)
        exif[at + 2 : at + 12] = short if value < 65536 else struct.pack(f"{order}HII", LONG, 1, value)
