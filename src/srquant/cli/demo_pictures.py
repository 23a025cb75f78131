"""The demo's pictures; they come from the scikit-image package, so nothing is downloaded."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.data.images import png_bytes, read_rgb
from srquant.data.resize import downscale
from srquant.errors import EngineError

Pixels = NDArray[np.uint8]

CALIBRATION_PICTURES = (
    "motorcycle_left.png",
    "motorcycle_right.png",
    "coffee.png",
    "ihc.png",
    "brick.png",
    "grass.png",
    "gravel.png",
)
TEST_PICTURES = ("astronaut.png", "chelsea.png", "rocket.jpg")

TILE = 64
"""Side in pixels of the tiles into which calibration pictures are cut."""

COUNT = 100
"""Number of tiles that are used for calibration."""


@dataclass(frozen=True)
class DemoPictures:
    """Low-resolution tiles for calibration, and pairs of other pictures to measure quality."""

    calibration: CalibrationSet
    benchmark: BenchmarkSet


def write_pictures(folder: Path, scale: int) -> DemoPictures:
    """Write ``calibration/*.png`` and the benchmark set ``pictures`` into a folder.

    Raises:
        EngineError: scikit-image isn't installed, or this version doesn't contain the pictures.
    """
    calibration, benchmark = folder / "calibration", folder / "pictures"
    for name in CALIBRATION_PICTURES:
        for i, tile in enumerate(tiles(downscale(read_rgb(shipped(name)), scale))):
            write_png(tile, calibration / f"{Path(name).stem}_{i}.png")
    for name in TEST_PICTURES:
        write_png(read_rgb(shipped(name)), benchmark / "HR" / f"{Path(name).stem}.png")
    return DemoPictures(CalibrationSet(calibration, COUNT), BenchmarkSet(benchmark, scale))


def shipped(name: str) -> Path:
    """Path of a picture in the scikit-image package."""
    try:
        import skimage
    except ImportError as error:
        raise EngineError("the demo needs the pictures of scikit-image: pip install 'srquant[demo]'") from error
    path = Path(skimage.__file__).parent / "data" / name
    if not path.exists():
        raise EngineError(f"this version of scikit-image doesn't contain {name}: pip install scikit-image==0.26.0")
    return path


def tiles(image: Pixels) -> list[Pixels]:
    """Cut into squares of ``TILE`` pixels; incomplete ones at the edges are dropped."""
    rows, columns = (size // TILE for size in image.shape[:2])
    return [image[TILE * i : TILE * (i + 1), TILE * j : TILE * (j + 1)] for i in range(rows) for j in range(columns)]


def write_png(image: Pixels, path: Path) -> None:
    """Write ``H x W x 3``; missing folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(image))
