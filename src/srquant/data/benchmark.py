"""Test sets of picture pairs: ``NAME/HR/*.png`` and, if there, ``NAME/LR_bicubic/X{scale}/*x{scale}.png``."""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyvips
from numpy.typing import NDArray

from srquant.data.images import list_images, read_rgb
from srquant.data.resize import downscale
from srquant.errors import DatasetError
from srquant.files import write_whole


@dataclass(frozen=True)
class Sample:
    """One pair.

    Attributes:
        name: file name of the true picture without its suffix.
        low: ``H x W x 3`` RGB, 8 bit.
        high: ``scale*H x scale*W x 3`` RGB, 8 bit: the true picture cropped at the bottom and right.
    """

    name: str
    low: NDArray[np.uint8]
    high: NDArray[np.uint8]


@dataclass(frozen=True)
class BenchmarkSet:
    """Pairs of a folder, read one at a time, sorted by name.

    A low-resolution picture that is missing is made with ``resize.downscale`` and kept: in the set's folder where that
    is writable, else under ``$SRQUANT_CACHE`` (default: the user's cache folder), else made anew each time.

    Attributes:
        folder: holds ``HR``; its name is the set's name.
        scale: how many times larger the true pictures are, at least 2.

    Raises:
        DatasetError: no pictures, a scale below 2, or pairs whose sizes don't fit (when they are read).
    """

    folder: Path
    scale: int

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise DatasetError(f"scale {self.scale} of benchmark {self.folder}: use 2 or more")
        if not (self.folder / "HR").is_dir():
            raise DatasetError(f"{self.folder} is no benchmark: put its true pictures into {self.folder / 'HR'}")
        _ = self.files

    @property
    def name(self) -> str:
        """Name of the set, e.g. ``Set5``."""
        return self.folder.resolve().name

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The true pictures."""
        return tuple(list_images(self.folder / "HR"))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        return map(self._read, self.files)

    def _read(self, path: Path) -> Sample:
        high = read_rgb(path)
        low = self._low(path, high)
        height, width = (self.scale * size for size in low.shape[:2])
        spare = high.shape[0] - height, high.shape[1] - width
        if not all(0 <= s < self.scale for s in spare):
            raise DatasetError(
                f"{path} has {high.shape[0]}x{high.shape[1]} pixels, its x{self.scale} low-resolution picture "
                f"{low.shape[0]}x{low.shape[1]}: give another scale, or delete the latter to have it made"
            )
        return Sample(path.stem, low, high[:height, :width])

    def _low(self, path: Path, high: NDArray[np.uint8]) -> NDArray[np.uint8]:
        beside = self.folder / "LR_bicubic" / f"X{self.scale}" / f"{path.stem}x{self.scale}.png"
        if beside.exists():
            return read_rgb(beside)
        cached = _cache_folder() / f"{hashlib.sha256(path.read_bytes()).hexdigest()}x{self.scale}.png"
        if cached.exists():
            return read_rgb(cached)
        if min(high.shape[:2]) < self.scale:
            raise DatasetError(f"{path} has {high.shape[0]}x{high.shape[1]} pixels, too few for scale {self.scale}")
        low = downscale(high, self.scale)
        _keep(low, [beside, cached] if _is_writable(self.folder) else [cached])
        return low


def _cache_folder() -> Path:
    user = os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")
    return Path(os.environ.get("SRQUANT_CACHE", Path(user) / "srquant")) / "LR_bicubic"


def _is_writable(folder: Path) -> bool:
    """Whether a folder's permissions let anyone write; a superuser, who could always, keeps to them as well."""
    return bool(folder.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))


def _keep(image: NDArray[np.uint8], places: list[Path]) -> None:
    """Write the picture to the first place that takes it; to none where none does."""
    content = pyvips.Image.new_from_array(image, interpretation="srgb").pngsave_buffer()
    for place in places:
        with contextlib.suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, content)
            return
