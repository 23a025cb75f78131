"""The demo's pictures: from the scikit-image package, so that nothing is downloaded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.data.images import read_rgb
from srquant.data.resize import downscale
from srquant.errors import EngineError

Pixels = NDArray[np.uint8]

LEARNED_FROM = (
    "motorcycle_left.png",
    "motorcycle_right.png",
    "coffee.png",
    "ihc.png",
    "brick.png",
    "grass.png",
    "gravel.png",
)
MEASURED_ON = ("astronaut.png", "chelsea.png", "rocket.jpg")

TILE = 64
"""Side of the pieces into which calibration pictures are cut."""

COUNT = 100


@dataclass(frozen=True)
class DemoPictures:
    """Disjoint pictures: small ones without ground truth to learn from, pairs to measure on."""

    calibration: CalibrationSet
    benchmark: BenchmarkSet


def write_pictures(folder: Path, scale: int) -> DemoPictures:
    """Write ``calibration/*.png`` and the benchmark set ``pictures`` into a folder.

    Raises:
        EngineError: scikit-image isn't installed, or comes without these pictures.
    """
    calibration, benchmark = folder / "calibration", folder / "pictures"
    for name in LEARNED_FROM:
        for i, tile in enumerate(tiles(downscale(read_rgb(shipped(name)), scale))):
            write_png(tile, calibration / f"{Path(name).stem}_{i}.png")
    for name in MEASURED_ON:
        write_png(read_rgb(shipped(name)), benchmark / "HR" / f"{Path(name).stem}.png")
    return DemoPictures(CalibrationSet(calibration, COUNT), BenchmarkSet(benchmark, scale))


def shipped(name: str) -> Path:
    """A picture in the scikit-image package."""
    try:
        import skimage
    except ImportError as error:
        raise EngineError("the demo's pictures come with scikit-image: pip install 'srquant[demo]'") from error
    path = Path(skimage.__file__).parent / "data" / name
    if not path.exists():
        raise EngineError(f"this scikit-image comes without {name}: install 0.26.0")
    return path


def tiles(image: Pixels) -> list[Pixels]:
    """All whole squares of ``TILE`` pixels."""
    rows, columns = (size // TILE for size in image.shape[:2])
    return [image[TILE * i : TILE * (i + 1), TILE * j : TILE * (j + 1)] for i in range(rows) for j in range(columns)]


def write_png(image: Pixels, path: Path) -> None:
    """Write ``H x W x 3``; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(np.ascontiguousarray(image), interpretation="srgb").write_to_file(str(path))
