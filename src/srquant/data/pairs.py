"""Training pairs: random crops of high-resolution pictures and of their low-resolution versions.

The low-resolution versions are given as files or made on the fly.
"""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.data.augment import Pixels, augment, draw_flips
from srquant.data.find import list_images
from srquant.data.formats.limits import MOST_WHOLE
from srquant.data.images import image_size
from srquant.data.picture_cache import PictureCache
from srquant.data.resize import downscale_window
from srquant.errors import DatasetError


@dataclass(frozen=True)
class Pair:
    """Files of one pair.

    Attributes:
        high: the high-resolution picture.
        low: its low-resolution version; None if it is made on the fly.
        height: rows of the low-resolution picture.
        width: columns of the low-resolution picture.
    """

    high: Path
    low: Path | None
    height: int
    width: int


@dataclass(frozen=True)
class PairSet:
    """Random crops of pairs, numbered: crop ``n`` depends only on the set, the seed and ``n``.

    In each epoch every picture gives one crop; the order of the pictures differs from epoch to epoch.

    Attributes:
        folders: high-resolution pictures; subfolders are not searched.
        scale: how many times larger these are than the low-resolution pictures.
        patch: side of the low-resolution crops in pixels; the high-resolution crops are ``scale`` times larger.
        seed: decides order, crops and flips; at least 0.
        low: folders of low-resolution pictures, one for each of ``folders``; the file for ``NAME.png`` is called
            ``NAMExS.png`` or ``NAME.png``. Empty: they are made on the fly by ``data.resize``.
        memory: most bytes for decoded pictures that are kept.
        most_pixels: that a picture may have.

    Raises:
        DatasetError: no pictures, a value out of range, a picture smaller than the crops, or pairs whose sizes don't
            match.
    """

    folders: tuple[Path, ...]
    scale: int
    patch: int = 48
    seed: int = 0
    low: tuple[Path, ...] = ()
    memory: int = 1 << 32
    most_pixels: int = MOST_WHOLE

    def __post_init__(self) -> None:
        for name, smallest in (("scale", 2), ("patch", 1), ("seed", 0)):
            if getattr(self, name) < smallest:
                raise DatasetError(f"{name} of the training set is {getattr(self, name)}: use at least {smallest}")
        if self.low and len(self.low) != len(self.folders):
            raise DatasetError(
                f"{len(self.folders)} folders of high-resolution pictures but {len(self.low)} of low-resolution ones: "
                "give one for each, in the same order, or none"
            )
        self._check_sizes()

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, folder by folder, sorted by name."""
        found: list[Pair] = []
        for i, folder in enumerate(self.folders):
            lows = _by_stem(self.low[i]) if self.low else None
            found += [_pair(high, lows, self.scale) for high in list_images(folder)]
        return tuple(found)

    @cached_property
    def pictures(self) -> PictureCache:
        """Cache of decoded pictures."""
        return PictureCache(self.memory, self.most_pixels)

    def batch(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The crops with these numbers, each at least 0.

        Returns:
            ``N x 3 x patch x patch`` and ``N x 3 x scale*patch x scale*patch``, RGB uint8, channels last in memory.
        """
        lows, highs = zip(*(self.crop(number) for number in numbers), strict=True)
        return _stack(lows), _stack(highs)

    def crop(self, number: int) -> tuple[Pixels, Pixels]:
        """The low-resolution and the high-resolution crop with this number, ``H x W x 3``."""
        epoch, place = divmod(number, len(self.pairs))
        pair = self.pairs[_order(self.seed, epoch, len(self.pairs))[place]]
        random = np.random.default_rng((self.seed, epoch, 1 + place))
        top, left = (int(random.integers(size - self.patch + 1)) for size in (pair.height, pair.width))
        flips = draw_flips(random)
        low, high = self._windows(pair, top, left)
        return augment(low, flips), augment(high, flips)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the files' contents and of scale, patch and seed, in hexadecimal."""
        digest = hashlib.sha256(f"scale {self.scale} patch {self.patch} seed {self.seed}\n".encode())
        files = [path for pair in self.pairs for path in (pair.high, pair.low) if path is not None]
        with ThreadPoolExecutor() as pool:
            for part in pool.map(_digest, files):
                digest.update(part)
        return digest.hexdigest()

    def _windows(self, pair: Pair, top: int, left: int) -> tuple[Pixels, Pixels]:
        high, side = self.pictures.read(pair.high), self.patch * self.scale
        high = high[: pair.height * self.scale, : pair.width * self.scale]
        if pair.low is None:
            low = downscale_window(high, self.scale, top, left, self.patch, self.patch)
        else:
            low = self.pictures.read(pair.low)[top : top + self.patch, left : left + self.patch]
        top, left = self.scale * top, self.scale * left
        return low, high[top : top + side, left : left + side]

    def _check_sizes(self) -> None:
        smallest = min(self.pairs, key=lambda pair: min(pair.height, pair.width))
        fits = min(smallest.height, smallest.width)
        if fits < self.patch:
            height, width = image_size(smallest.high)
            advice = f"leave it out or use --patch {fits}" if fits else "leave it out"
            raise DatasetError(
                f"{smallest.high} has {height}x{width} pixels, {smallest.height}x{smallest.width} at 1/{self.scale}, "
                f"smaller than the crops of {self.patch}x{self.patch}: {advice}"
            )


def _pair(high: Path, lows: dict[str, Path] | None, scale: int) -> Pair:
    height, width = image_size(high)
    if lows is None:
        return Pair(high, None, height // scale, width // scale)
    names = (f"{high.stem}x{scale}", high.stem)
    low = next((lows[name] for name in names if name in lows), None)
    if low is None:
        folder = next(iter(lows.values())).parent
        raise DatasetError(
            f"{high} has no low-resolution version in {folder}: put {names[0]}{high.suffix} there, or leave out "
            "--lr, then srquant makes it"
        )
    low_height, low_width = image_size(low)
    spare = height - scale * low_height, width - scale * low_width
    if not all(0 <= pixels < scale for pixels in spare):
        raise DatasetError(
            f"{high} has {height}x{width} pixels, its low-resolution version {low} {low_height}x{low_width}: the "
            f"sizes don't match at scale {scale}; replace one of them, or leave out --lr"
        )
    return Pair(high, low, low_height, low_width)


def _by_stem(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_images(folder)}


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)


def _stack(crops: Iterable[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(list(crops))).permute(0, 3, 1, 2)


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
