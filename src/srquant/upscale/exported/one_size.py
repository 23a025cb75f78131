"""Models for pictures of one size."""

from dataclasses import replace

from srquant.errors import ExportedFileError
from srquant.upscale.exported.protocol import ExportedFile
from srquant.upscale.exported.sizes import SMALL
from srquant.upscale.tiles.tiling import Tiling


def in_tiles_of(side: int, tiling: Tiling) -> Tiling:
    """The tiling of a model for pictures of one size; tiles that are small for it overlap less, and start anywhere."""
    if side >= 2 * (tiling.overlap + tiling.alignment):
        return replace(tiling, exact=False, largest=side)
    return replace(tiling, overlap=min(tiling.overlap, side // 4), alignment=1, exact=False, largest=side)


def fixed_side(file: ExportedFile) -> int | None:
    """Side of the pictures if the model takes one size only; None if it takes several."""
    height, width = (file.input_shape or (None,) * 4)[2:]
    if height is None and width is None:
        return None
    if height is None or height != width or height < SMALL:
        sizes = " x ".join("any" if size is None else str(size) for size in (height, width))
        raise ExportedFileError(
            f"{file.files[0]} takes pictures of {sizes} pixels only; export it with a height and width that may "
            f"vary, or for squares of at least {SMALL}x{SMALL} pixels"
        )
    return height
