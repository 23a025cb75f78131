"""Bits per 96 x 96 patch, FAB and PSNR of networks whose bits depend on the picture: CADyQ, CABM, AdaBM.

    srquant train --method cadyq --init CKPT -w 8 -a 8 --hr DIR --steps N -o cadyq
    srquant train --method cabm --init CKPT -w 8 -a 8 --hr DIR --steps N -o cabm
    srquant quantize CKPT --method adabm -w 8 -a 6 --head-bits float --tail-bits float --calibration DIR -o adabm.st
    python benchmarks/qat_patches.py cadyq=cadyq/model.safetensors cabm=cabm/model.safetensors adabm=adabm.st -o OUT

PyTorch runs every file patch by patch, as ``srquant evaluate --patch 96`` does; a float checkpoint may be among the
files. Pictures: Urban100 of ``$SRQUANT_SHARED``, or ``--data``. OUT is a path without suffix, such as
docs/results/qat_patches.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ptq_run import shared
from report import write

from srquant.data.benchmark import BenchmarkSet
from srquant.deploy.file.open_model import open_network
from srquant.measure.cost.layer_costs import picture_fab
from srquant.measure.quality.patches import Measure
from srquant.measure.quality.scores import Report, evaluate
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.tiles.upscale_tiles import upscale_tile

EDGES = (0.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.01)
"""Borders of the ranges of FAB whose patches are counted."""

COLUMNS = {
    "name": "file",
    "psnr_y": "PSNR-Y",
    "ssim_a": "SSIM",
    "fab": "FAB",
    "smallest": "least",
    "median": "median",
    "largest": "most",
    "shares": "% of patches with FAB " + ", ".join(f"{low:g}-{high:g}" for low, high in pairwise(EDGES)),
}

ABOUT = """\
{pictures} pictures of {data} x{scale}, upscaled in patches of {patch} x {patch} low-resolution pixels (the last of a
row or column takes the remainder; no overlap). PSNR and SSIM are of the whole pictures, FAB the mean over patches, then
pictures. Least, median and most: FAB of single patches. JSON has the FAB of every patch."""


@dataclass(frozen=True)
class Row:
    """One file.

    Attributes:
        name: in the table.
        psnr_y: mean over pictures, dB.
        ssim_a: mean over pictures.
        fab: mean over patches, then pictures; None for a float network.
        smallest: FAB of the patch with the fewest bits.
        median: median FAB of all patches.
        largest: FAB of the patch with the most bits.
        shares: percent of patches in each range of ``EDGES``.
        patches: FAB of each patch, by picture.
    """

    name: str
    psnr_y: float
    ssim_a: float
    fab: float | None
    smallest: float | None
    median: float | None
    largest: float | None
    shares: str
    patches: dict[str, list[float]]


def measured(name: str, path: Path, benchmark: BenchmarkSet, patch: int) -> Row:
    """Upscale a set patch by patch and note the FAB of each."""
    network = open_network(path, benchmark.scale)
    fab, noted = picture_fab(network), Noted()
    measure = noted.watching(fab) if callable(fab) else fab
    upscaler = partial(upscale_tile, open_engine("torch", network))
    report = evaluate(upscaler, benchmark, "torch", measure, patch, noted.next_picture)
    return row(name, report, noted.pictures)


class Noted:
    """FAB of patches, picture by picture.

    Attributes:
        pictures: the values of each picture.
    """

    def __init__(self) -> None:
        self.pictures: list[list[float]] = []
        self.present: list[float] = []

    def watching(self, fab: Measure) -> Callable[[NDArray[np.uint8]], float]:
        """The same measure, which also notes its values."""

        def measure(image: NDArray[np.uint8]) -> float:
            self.present.append(fab(image))
            return self.present[-1]

        return measure

    def next_picture(self, done: int, total: int) -> None:
        """Called after each picture."""
        self.pictures.append(self.present)
        self.present = []


def row(name: str, report: Report, pictures: Sequence[list[float]]) -> Row:
    """One line of the table."""
    names = [image.name for image in report.images]
    values = np.array([value for picture in pictures for value in picture])
    quality = name, round(report.psnr_y, 3), round(report.ssim_a, 4)
    if not len(values):
        return Row(*quality, report.fab, report.fab, report.fab, report.fab, "-", {})
    counts, _ = np.histogram(values, EDGES)
    summary = (round(float(value), 2) for value in (values.min(), np.median(values), values.max()))
    shares = ", ".join(f"{100 * count / len(values):.0f}" for count in counts)
    rounded = {name: [round(value, 3) for value in picture] for name, picture in zip(names, pictures, strict=True)}
    return Row(*quality, None if report.fab is None else round(report.fab, 3), *summary, shares, rounded)


def main() -> None:
    """Measure the files and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--data", type=Path, default=shared() / "data" / "Urban100", help="benchmark set")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("-o", "--output", type=Path, required=True, help="path without suffix")
    arguments = parser.parse_args()
    benchmark = BenchmarkSet(arguments.data, arguments.scale)
    rows = []
    for given in arguments.files:
        name, _, path = given.partition("=")
        rows.append(measured(name, Path(path), benchmark, arguments.patch))
        print(rows[-1].name, rows[-1].psnr_y, rows[-1].fab, flush=True)
    about = ABOUT.format(
        pictures=len(benchmark), data=benchmark.name, scale=benchmark.scale, patch=arguments.patch
    ).replace("\n", " ")
    write(arguments.output, "Bits by patch", about, rows, COLUMNS)


if __name__ == "__main__":
    main()
