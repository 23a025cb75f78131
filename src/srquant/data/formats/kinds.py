"""Formats of picture files, told by the first bytes of a file, never by its name."""

from enum import StrEnum
from pathlib import Path

from srquant.errors import ImageError


class Format(StrEnum):
    """A format that srquant reads where a library for it is there."""

    PNG = "PNG"
    JPEG = "JPEG"
    WEBP = "WebP"
    TIFF = "TIFF"
    GIF = "GIF"
    BMP = "BMP"
    AVIF = "AVIF"
    HEIC = "HEIC"
    JXL = "JPEG XL"


SUFFIXES = {
    ".png": Format.PNG,
    ".apng": Format.PNG,
    ".jpg": Format.JPEG,
    ".jpeg": Format.JPEG,
    ".jpe": Format.JPEG,
    ".jfif": Format.JPEG,
    ".webp": Format.WEBP,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".gif": Format.GIF,
    ".bmp": Format.BMP,
    ".dib": Format.BMP,
    ".avif": Format.AVIF,
    ".heic": Format.HEIC,
    ".heif": Format.HEIC,
    ".hif": Format.HEIC,
    ".jxl": Format.JXL,
}
"""The format that a name promises, by its suffix in small letters; finds pictures in folders."""

SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"\xff\xd8\xff", Format.JPEG),
    (b"II*\0", Format.TIFF),
    (b"MM\0*", Format.TIFF),
    (b"II+\0", Format.TIFF),
    (b"MM\0+", Format.TIFF),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"\xff\x0a", Format.JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Format.JXL),
)
"""How files of a format begin."""

BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Bytes of the headers that follow the first 14 bytes of a BMP file; two letters alone may begin any text."""

AVIF_BRANDS = (b"avif", b"avis")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
LONGEST_BRANDS = 256
"""Bytes of a file in which its brands (ISO 14496-12, ``ftyp``) are looked for."""


def format_of(path: Path) -> Format:
    """The format of a picture file.

    Raises:
        ImageError: missing, a folder, empty, unreadable, or of no known format.
    """
    start = first_bytes(path)
    if not start:
        raise ImageError(f"{path} is empty (0 bytes): copy the picture again, or leave it out")
    found = recognised(start)
    if found is None:
        known = ", ".join(Format)
        raise ImageError(f"can't read {path} as a picture (it is none of {known}): convert it to one, or leave it out")
    return found


def first_bytes(path: Path) -> bytes:
    """The bytes that tell a format; errors as ``format_of``."""
    if not path.exists():
        raise ImageError(f"{path} doesn't exist: check the name")
    if not path.is_file():
        raise ImageError(f"{path} is not a file: check the name")
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_BRANDS)
    except OSError as error:
        raise ImageError(f"can't read {path} ({error.strerror}): check that it may be read") from error


def recognised(start: bytes) -> Format | None:
    """The format of a file that begins like this; None if it is not known."""
    for signature, found in SIGNATURES:
        if start.startswith(signature):
            return found
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return Format.WEBP
    if start[:2] == b"BM" and int.from_bytes(start[14:18], "little") in BMP_HEADERS:
        return Format.BMP
    return by_brands(start) if start[4:8] == b"ftyp" else None


def by_brands(start: bytes) -> Format | None:
    """AVIF or HEIC by the brands of an ISO media file; None for films."""
    box = start[8 : int.from_bytes(start[:4], "big")]
    brands = [box[:4], *(box[at : at + 4] for at in range(8, len(box), 4))]
    if any(brand in AVIF_BRANDS for brand in brands):
        return Format.AVIF
    return Format.HEIC if box[:4] in HEIC_BRANDS else None
