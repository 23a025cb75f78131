"""Put what is carried into a file that was just written with its pixels, ICC profile and IPTC, and XMP but in PNG."""

import shutil
from pathlib import Path

from srquant.file_owners import owning
from srquant.files import temporary
from srquant.upscale.pictures.metadata import jpeg_segments, png_chunks
from srquant.upscale.pictures.metadata.carried import Carried
from srquant.upscale.pictures.metadata.exif import for_upright
from srquant.upscale.pictures.metadata.png_chunks import Chunk
from srquant.upscale.pictures.metadata.tiff_resolution import remove_resolution


def finish(path: Path, suffix: str, carried: Carried, height: int, width: int) -> None:
    """Change the texts and numbers of a file.

    WebP files are left as they are: libraries write their EXIF.

    Args:
        path: a whole file; its name doesn't tell the format.
        suffix: of the format, e.g. ``.png``.
        carried: from the source.
        height: of the written picture.
        width: of the written picture.

    Raises:
        OSError: the file can't be written.
    """
    exif = None if carried.exif is None else for_upright(carried.exif, height, width)
    if suffix == ".png":
        finish_png(path, carried, exif)
    elif suffix in (".jpg", ".jpeg"):
        head = jpeg_segments.head(exif, carried.resolution, carried.comments)
        replace_start(path, jpeg_segments.head_length(path), head)
    elif suffix in (".tif", ".tiff") and carried.resolution is None:
        remove_resolution(path)


def finish_png(path: Path, carried: Carried, exif: bytes | None) -> None:
    """Change the chunks before the pixels."""
    written, length = png_chunks.head_length(path)
    added = [*(carried.chunks or new_chunks(carried)), *([] if exif is None else [Chunk(b"eXIf", exif)])]
    with path.open("rb") as file:
        signature = file.read(png_chunks.SIGNATURE)
    replace_start(path, length, signature + png_chunks.new_head(written, added))


def new_chunks(carried: Carried) -> list[Chunk]:
    """Chunks for what another format says."""
    texts = [png_chunks.comment_chunk(text) for text in carried.comments]
    texts += [] if carried.xmp is None else [png_chunks.xmp_chunk(carried.xmp)]
    return texts if carried.resolution is None else [png_chunks.resolution_chunk(carried.resolution), *texts]


def replace_start(path: Path, length: int, start: bytes) -> None:
    """Replace the first bytes of a file by others."""
    with owning(path.parent) as owner, temporary(path.with_name(f"{path.name}.start"), owner) as changed:
        with path.open("rb") as old, changed.open("wb") as new:
            old.seek(length)
            new.write(start)
            shutil.copyfileobj(old, new, 2**20)
        changed.replace(path)
