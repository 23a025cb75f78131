"""The same crops of one picture by several models side by side, where the models differ most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srquant.analyse.result_files import Files, csv_file
from srquant.data.images import png_bytes
from srquant.measure.quality.metrics import psnr_y
from srquant.report.crops import Column, Pixels, side_by_side
from srquant.report.most_different import most_different

NAMES = ("crops.csv", "crops.png")

WIDEST = 1200
"""Of the sheet in pixels, about; it decides how far crops are enlarged."""


@dataclass(frozen=True)
class Version:
    """A picture by one model.

    Attributes:
        label: of the model.
        picture: ``H x W x 3``, 8 bit.
        psnr: luminance PSNR against the original or the first model, in dB; None for that picture itself, infinite
            where both are equal.
        is_original: whether no model made it.
    """

    label: str
    picture: Pixels
    psnr: float | None
    is_original: bool = False


def compared(labels: Sequence[str], pictures: Sequence[Pixels], original: Pixels | None, border: int) -> list[Version]:
    """Pictures by several models, with their PSNR.

    Args:
        labels: of the models.
        pictures: one by each, all of one size.
        original: of the same size; None: the first model's picture stands for it.
        border: pixels that PSNR leaves out on each side.

    Returns:
        The original first, if there is one.

    Raises:
        ImageError: the original has another size.
    """
    truth = pictures[0] if original is None else original
    versions = [] if original is None else [Version("original", original, None, is_original=True)]
    for label, picture in zip(labels, pictures, strict=True):
        is_truth = original is None and picture is truth
        versions.append(Version(label, picture, None if is_truth else psnr_y(picture, truth, border)))
    return versions


def crop_files(versions: Sequence[Version], side: int, count: int) -> Files:
    """PSNR of each version, and ``count`` crops of ``side`` pixels; fewer where no more fit."""
    rows = [(v.label, None if v.psnr is None or np.isinf(v.psnr) else v.psnr) for v in versions]
    by_models = [version.picture for version in versions if not version.is_original]
    boxes = most_different(by_models, side, count)
    zoom = max(1, WIDEST // (len(versions) * boxes[0].side))
    columns = [Column(_label(version), [version.picture] * len(boxes)) for version in versions]
    return dict(
        zip(NAMES, (csv_file(("model", "psnr_y"), rows), png_bytes(side_by_side(columns, boxes, zoom))), strict=True)
    )


def _label(version: Version) -> str:
    return version.label if version.psnr is None else f"{version.label}\n{version.psnr:.2f} dB"
