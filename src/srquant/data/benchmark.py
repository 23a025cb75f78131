"""Benchmark sets of picture pairs: ``NAME/HR/*.png`` and, if present, ``NAME/LR_bicubic/X{scale}/*x{scale}.png``."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srquant.data.find import list_images
from srquant.data.formats.limits import MOST_WHOLE
from srquant.data.images import png_bytes, read_rgb
from srquant.data.resize import downscale
from srquant.errors import DatasetError, ImageError
from srquant.files import write_whole


@dataclass(frozen=True)
class Sample:
    """One pair.

    Attributes:
        name: file name of the high-resolution picture without its suffix.
        low: ``H x W x 3`` RGB, 8 bit.
        high: ``scale*H x scale*W x 3`` RGB, 8 bit: the high-resolution picture (ground truth), cropped at the
            bottom and right to this size.
    """

    name: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]


@dataclass(frozen=True)
class BenchmarkSet:
    """Pairs of a folder, read one at a time, sorted by name.

    A missing low-resolution picture is made with ``resize.downscale`` and kept under ``$SRQUANT_CACHE`` (default: the
    user's cache folder), by the content of the high-resolution one; if that can't be written, it is made each time.
    Nothing is written to the set's folder.

    Attributes:
        folder: holds ``HR``; its name is the set's name.
        scale: how many times larger the high-resolution pictures are, at least 2.
        most_pixels: that a picture may have.

    Raises:
        DatasetError: no pictures, a scale below 2, or a pair whose sizes don't match (raised when it is read).
    """

    folder: Path
    scale: int
    most_pixels: int = MOST_WHOLE

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise DatasetError(f"scale {self.scale} of benchmark {self.folder}: use 2 or more")
        if not self.folder.is_dir():
            raise DatasetError(f"{self.folder} is not a folder: give a benchmark set, a folder with pictures in HR")
        if not (self.folder / "HR").is_dir():
            raise DatasetError(
                f"{self.folder} is not a benchmark set: put its high-resolution pictures into {self.folder / 'HR'}"
            )
        _ = self.files

    @property
    def name(self) -> str:
        """Name of the set, e.g. ``Set5``."""
        return self.folder.resolve().name

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The high-resolution pictures."""
        return tuple(list_images(self.folder / "HR"))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        return map(self._read, self.files)

    def _read(self, path: Path) -> Sample:
        high = read_rgb(path, self.most_pixels)
        low = self._low(path, high)
        height, width = (self.scale * size for size in low.shape[:2])
        spare = high.shape[0] - height, high.shape[1] - width
        if not all(0 <= s < self.scale for s in spare):
            raise DatasetError(
                f"{path} has {high.shape[0]}x{high.shape[1]} pixels, its x{self.scale} low-resolution picture "
                f"{low.shape[0]}x{low.shape[1]}: give another scale, or delete the low-resolution picture, then "
                "srquant makes it"
            )
        return Sample(path.stem, low, high[:height, :width])

    def _low(self, path: Path, high: NDArray[np.uint8]) -> NDArray[np.uint8]:
        beside = self.folder / "LR_bicubic" / f"X{self.scale}" / f"{path.stem}x{self.scale}.png"
        if beside.exists():
            return read_rgb(beside, self.most_pixels)
        if min(high.shape[:2]) < self.scale:
            raise DatasetError(f"{path} has {high.shape[0]}x{high.shape[1]} pixels, too few for scale {self.scale}")
        cached = _cache_folder() / f"{_digest(high)}x{self.scale}.png"
        with contextlib.suppress(ImageError):  # missing or damaged
            return read_rgb(cached, self.most_pixels)
        low = downscale(high, self.scale)
        _keep(low, cached)
        return low


def _cache_folder() -> Path:
    user = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("SRQUANT_CACHE", Path(user) / "srquant")) / "LR_bicubic"


def _digest(image: NDArray[np.uint8]) -> str:
    """Hexadecimal digits that differ between pictures."""
    return hashlib.sha256(str(image.shape).encode() + image.tobytes()).hexdigest()


def _keep(image: NDArray[np.uint8], path: Path) -> None:
    """Write the picture, where that is possible."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, png_bytes(image))
