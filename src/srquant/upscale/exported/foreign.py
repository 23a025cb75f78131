"""Facts of models that other tools exported: found by the shapes of small pictures and of what the model makes of them.

Such a model must take ``N x 3 x H x W`` RGB in [0, 1], float32.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from srquant.errors import EngineError, ExportedFileError
from srquant.models.network import Facts
from srquant.upscale.exported.one_size import fixed_side, in_tiles_of
from srquant.upscale.exported.protocol import ExportedFile
from srquant.upscale.tiles.measured_overlap import FARTHEST, differences_from_cut, overlap_of
from srquant.upscale.tiles.tiling import ENGINE_COPIES, INEXACT_OVERLAP, Tiling

UNKNOWN = "unknown"
"""``Facts.architecture`` of models of other tools."""

SIDE = 64
"""About how many rows and columns the small pictures have."""

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""What sizes may have to be multiples of."""

CHANNELS = 64
"""Channels of the largest feature map, at the size of the output; as in RRDBNet."""


def facts_and_tiling(file: ExportedFile) -> tuple[Facts, Tiling]:
    """The facts of a model and how it can be tiled.

    Args:
        file: of another tool, with an input of three channels.

    Raises:
        ExportedFileError: the model doesn't upscale pictures, or takes pictures of one size that isn't square.
    """
    fixed = fixed_side(file)
    if fixed is not None:
        scale = scale_of(file, fixed, fixed)
        facts = Facts(UNKNOWN, scale, 1.0, (), (), tiles_exactly=False, smallest=fixed)
        return facts, in_tiles_of(fixed, Tiling(INEXACT_OVERLAP, 1, bytes_per_pixel(scale), exact=False))
    multiple = smallest_multiple(file)
    scale = scale_of(file, SIDE, SIDE)
    facts = Facts(UNKNOWN, scale, 1.0, (), (), tiles_exactly=False, multiple_of=multiple)
    return facts, tiling_of(file, facts)


def smallest_multiple(file: ExportedFile) -> int:
    """The least of ``MULTIPLES`` so that the model can take multiples of it."""
    complaint = ""
    for multiple in MULTIPLES:
        try:
            scale_of(file, SIDE + multiple, SIDE + 2 * multiple)
        except ExportedFileError as error:
            complaint = str(error)
        else:
            return multiple
    raise ExportedFileError(complaint)


def scale_of(file: ExportedFile, height: int, width: int) -> int:
    """Upscaling factor for a picture of this size.

    Raises:
        ExportedFileError: the model can't take it, or gives no upscaled picture.
    """
    try:
        shape = file.output_shape((1, 3, height, width))
    except EngineError as error:
        raise ExportedFileError(
            f"{file.files[0]} can't upscale a picture of {height}x{width} pixels ({error}); "
            "export it with a height and width that may vary"
        ) from error
    scale = shape[2] // height if len(shape) == 4 else 0
    if scale < 1 or shape != (1, 3, scale * height, scale * width):
        raise ExportedFileError(
            f"{file.files[0]} makes {' x '.join(map(str, shape))} of 1 x 3 x {height} x {width}, "
            "need 1 x 3 x scale*H x scale*W; export a network that upscales RGB pictures"
        )
    return scale


def tiling_of(file: ExportedFile, facts: Facts) -> Tiling:
    """How a model for pictures of all sizes can be tiled; the overlap is measured."""
    alignment = math.lcm(INEXACT_OVERLAP, facts.multiple_of)
    overlap = overlap_of(differences_from_cut(on_tensors(file), facts, alignment))
    overlap = INEXACT_OVERLAP if overlap >= FARTHEST else overlap
    return Tiling(overlap, alignment, bytes_per_pixel(facts.scale), exact=False)


def on_tensors(file: ExportedFile) -> Callable[[Tensor], Tensor]:
    """The model as a function of tensors."""
    return lambda images: torch.from_numpy(file(images.contiguous().numpy()).copy())


def bytes_per_pixel(scale: int) -> int:
    """Memory of a tile per input pixel: a feature map of ``CHANNELS`` float32 is read and another one written."""
    return math.ceil(ENGINE_COPIES * 2 * CHANNELS * 4 * scale**2)
