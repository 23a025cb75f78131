"""Calibration sets: low-resolution pictures without ground truth, to find or learn quantization ranges."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.data.augment import augment, draw_flips
from srquant.data.find import list_images
from srquant.data.formats.limits import MOST_WHOLE
from srquant.data.images import image_size, read_rgb
from srquant.data.picture_cache import PictureCache
from srquant.errors import DatasetError

PICTURE_BYTES = 2**28
"""Most bytes of decoded pictures that a calibration set keeps."""


@dataclass(frozen=True)
class CalibrationSet:
    """A random choice of pictures and random crops of them, both decided by a seed.

    Pictures are read when their batch is made; up to ``PICTURE_BYTES`` of them stay in memory for later crops.

    Attributes:
        folder: low-resolution pictures; subfolders are not searched.
        count: how many pictures are chosen, without repetition.
        seed: decides the choice, the order, the crops and their flips; at least 0.
        patch: side of the square crops in pixels.
        augmented: whether crops are flipped and transposed at random.
        most_pixels: that a picture may have.

    Raises:
        DatasetError: no pictures, fewer than ``count``, one smaller than ``patch``, all the same, each of a single
            colour, or a value out of range.
    """

    folder: Path
    count: int = 100
    seed: int = 0
    patch: int = 48
    augmented: bool = True
    most_pixels: int = MOST_WHOLE

    def __post_init__(self) -> None:
        for name, smallest in (("count", 1), ("seed", 0), ("patch", 1)):
            if getattr(self, name) < smallest:
                raise DatasetError(f"{name} of the calibration set is {getattr(self, name)}: use at least {smallest}")
        self._check_sizes()
        self._check_variety()

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The chosen pictures, sorted by name."""
        found = list_images(self.folder)
        if len(found) < self.count:
            raise DatasetError(
                f"{self.folder} contains {len(found)} pictures but {self.count} are needed: "
                f"add more or use --count {len(found)}"
            )
        chosen = np.random.default_rng(self.seed).permutation(len(found))[: self.count]
        return tuple(found[i] for i in sorted(chosen))

    @cached_property
    def pictures(self) -> PictureCache:
        """Cache of decoded pictures."""
        return PictureCache(PICTURE_BYTES, self.most_pixels)

    def batches(self, size: int, epoch: int = 0) -> Iterator[Tensor]:
        """One crop of every chosen picture, in random order.

        Crops don't depend on ``size``; the same epoch always gives the same crops, another epoch gives other crops.

        Args:
            size: crops per batch, at least 1.
            epoch: at least 0.

        Yields:
            ``N x 3 x patch x patch`` float32 in [0, 1]; N is ``size``, or fewer in the last batch.
        """
        random = np.random.default_rng((self.seed, epoch))
        order = random.permutation(len(self.files))
        for start in range(0, len(order), size):
            crops = [self._augment(self._crop(self.files[i], random), random) for i in order[start : start + size]]
            yield torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous().float() / 255

    def stream(self, size: int, epochs: int) -> Iterator[Tensor]:
        """Crops of several epochs, one after the other, in batches of equal size; an incomplete last batch is dropped.

        Args:
            size: crops per batch, at least 1; at most the number of crops of all epochs.
            epochs: number of crops of each picture.
        """
        crops = chain.from_iterable(self.batches(1, epoch) for epoch in range(epochs))
        count = epochs * len(self.files)
        size = min(size, count)
        for _ in range(count // size):
            yield torch.cat(list(islice(crops, size)))

    def fingerprint(self) -> str:
        """SHA-256 over the chosen files' contents, the seed and the patch, in hexadecimal."""
        digest = hashlib.sha256(f"seed {self.seed} patch {self.patch}\n".encode())
        for path in self.files:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _crop(self, path: Path, random: np.random.Generator) -> NDArray[np.uint8]:
        image = self.pictures.read(path)
        top = random.integers(image.shape[0] - self.patch + 1)
        left = random.integers(image.shape[1] - self.patch + 1)
        return image[top : top + self.patch, left : left + self.patch]

    def _augment(self, crop: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        """Random numbers are drawn even if not used, so that the crops don't depend on ``augmented``."""
        flips = draw_flips(random)
        return augment(crop, flips) if self.augmented else crop

    def _check_sizes(self) -> None:
        sizes = {path: image_size(path) for path in self.files}
        smallest = min(sizes, key=lambda path: min(sizes[path]))
        height, width = sizes[smallest]
        if min(height, width) < self.patch:
            raise DatasetError(
                f"{smallest} has {height}x{width} pixels, smaller than the crops of {self.patch}x{self.patch}: "
                f"leave it out or use --patch {min(height, width)}"
            )

    def _check_variety(self) -> None:
        """Reads only as many pictures as needed to find two that differ and one with several colours."""
        first, *others = self.files
        read = partial(read_rgb, most=self.most_pixels)
        if others and _all_like(map(read, self.files)):
            raise DatasetError(
                f"all {self.count} calibration pictures are the same as {first}: give different ones, or use --count 1"
            )
        if all(_one_colour(read(path)) for path in self.files):
            raise DatasetError(f"every calibration picture in {self.folder} has a single colour: give natural pictures")


def _all_like(images: Iterator[NDArray[np.uint8]]) -> bool:
    """Whether all pictures are equal to the first; stops reading at the first that differs."""
    first = next(images)
    return all(np.array_equal(first, other) for other in images)


def _one_colour(image: NDArray[np.uint8]) -> bool:
    return bool((image == image[0, 0]).all())
