"""Which formats can be read here: it depends on how libvips and Pillow were built."""

from importlib.util import find_spec

from srquant.data import vips
from srquant.data.formats.kinds import Format
from srquant.data.vips import pyvips

LOADERS = {
    Format.PNG: "pngload",
    Format.JPEG: "jpegload",
    Format.WEBP: "webpload",
    Format.TIFF: "tiffload",
    Format.GIF: "gifload",
    Format.AVIF: "heifload",
    Format.HEIC: "heifload",
    Format.JXL: "jxlload",
}
"""libvips' loaders; only these ever see a file."""

PILLOW_NAMES = {
    Format.PNG: "PNG",
    Format.JPEG: "JPEG",
    Format.WEBP: "WEBP",
    Format.TIFF: "TIFF",
    Format.GIF: "GIF",
    Format.BMP: "BMP",
    Format.AVIF: "AVIF",
}
"""Pillow's names of the formats that it reads."""


def is_readable(kind: Format) -> bool:
    """Whether pictures of a format can be read on this machine."""
    if vips.WORKS and kind in LOADERS:
        return bool(pyvips.type_find("VipsOperation", f"{LOADERS[kind]}_source"))
    return kind in PILLOW_NAMES and has_pillow(kind)


def has_pillow(kind: Format) -> bool:
    """Whether Pillow is installed, with what it needs for a format."""
    return find_spec("PIL") is not None and (kind is not Format.AVIF or find_spec("PIL._avif") is not None)


def unreadable_here(kind: Format) -> str:
    """Why pictures of a format can't be read, and what to do."""
    if kind is Format.BMP:
        return "BMP is read by Pillow, which is not installed: pip install pillow, or convert it to PNG"
    return f"the libraries installed here read no {kind}: convert it to PNG"
