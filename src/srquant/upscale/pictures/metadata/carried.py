"""What is carried from a picture to the upscaled one."""

from dataclasses import dataclass
from pathlib import Path

from srquant.data.formats.kinds import Format, format_of
from srquant.data.formats.tiff_tags import Directory, read_directory
from srquant.upscale.pictures.metadata import gif_comments, jpeg_segments, png_chunks
from srquant.upscale.pictures.metadata.png_chunks import Chunk

Resolution = tuple[float, float]
"""Pixels per millimetre, to the right and down."""

X_RESOLUTION, Y_RESOLUTION, UNIT = 282, 283, 296
MILLIMETRES = {2: 25.4, 3: 10.0}
"""Of TIFF's units: inch and centimetre."""


@dataclass(frozen=True)
class Carried:
    """Texts and numbers of a file; ICC profile and IPTC are left to the libraries, which also find the XMP.

    Attributes:
        exif: an EXIF block, beginning with ``II`` or ``MM``; None if there is none.
        xmp: an XMP packet; None if there is none.
        resolution: None if the file has none.
        comments: texts without a name.
        chunks: of a PNG file, as they are: texts with names, resolution, and what tells its colours.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    resolution: Resolution | None = None
    comments: tuple[str, ...] = ()
    chunks: tuple[Chunk, ...] = ()


def carried_from(path: Path) -> Carried:
    """Read what a picture file says beside its pixels.

    Raises:
        ImageError: no picture, or absurdly much text.
        OSError: it can't be read.
    """
    kind = format_of(path)
    if kind is Format.PNG:
        return from_png(path)
    if kind is Format.JPEG:
        return from_jpeg(path)
    if kind is Format.TIFF:
        return from_tiff(path)
    return Carried(comments=gif_comments.read(path)) if kind is Format.GIF else Carried()


def from_png(path: Path) -> Carried:
    """See ``carried_from``."""
    chunks = png_chunks.read(path)
    exif = next((chunk.data for chunk in chunks if chunk.kind == b"eXIf"), None)
    kept = tuple(chunk for chunk in chunks if chunk.kind != b"eXIf")
    return Carried(exif, resolution=png_chunks.resolution(kept), comments=png_chunks.comments(kept), chunks=kept)


def from_jpeg(path: Path) -> Carried:
    """See ``carried_from``."""
    head = jpeg_segments.read(path)
    return Carried(head.exif, resolution=head.resolution, comments=head.comments)


def from_tiff(path: Path) -> Carried:
    """See ``carried_from``."""
    with path.open("rb") as file:
        tags = read_directory(file)
    return Carried(resolution=None if tags is None else tiff_resolution(tags))


def tiff_resolution(tags: Directory) -> Resolution | None:
    """The resolution that TIFF tags give; None if there is none, or only a proportion."""
    across, down = tags.values(X_RESOLUTION), tags.values(Y_RESOLUTION)
    unit = MILLIMETRES.get(tags.first(UNIT, 2))
    if unit is None or len(across) != 2 or len(down) != 2 or 0 in (*across, *down):
        return None
    return across[0] / across[1] / unit, down[0] / down[1] / unit
