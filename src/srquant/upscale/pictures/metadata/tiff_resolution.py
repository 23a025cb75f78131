"""Take the resolution out of a TIFF file, as libvips writes one in any case."""

from pathlib import Path
from typing import BinaryIO

from srquant.data.formats.tiff_tags import Directory, read_directory
from srquant.upscale.pictures.metadata.carried import UNIT, X_RESOLUTION, Y_RESOLUTION


def remove_resolution(path: Path) -> None:
    """Leave out the tags of the resolution in the first directory of a file."""
    with path.open("rb+") as file:
        tags = read_directory(file)
        assert tags is not None, "just written"
        rewrite(file, tags, (X_RESOLUTION, Y_RESOLUTION, UNIT))


def rewrite(file: BinaryIO, tags: Directory, without: tuple[int, ...]) -> None:
    """Write a directory again in its place without some tags: their number, the tags, the position of the next one."""
    layout, width = tags.layout, 8 if tags.layout.big else 2
    kept = []
    for number, tag in tags.tags.items():
        file.seek(tag.at)
        entry = file.read(layout.entry)
        kept += [] if number in without else [entry]
    following = file.read(layout.position)
    file.seek(tags.at)
    count = len(kept).to_bytes(width, "little" if layout.order == "<" else "big")
    file.write(count + b"".join(kept) + following)
