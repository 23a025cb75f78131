"""Pictures of an ImageNet folder for a ResNet-18: ``train/CLASS/*`` and ``val/CLASS/*``, classes sorted by name."""

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from digits import Digits
from torch import Tensor
from torch.nn import functional as F

from srquant.data.images import read_rgb
from srquant.errors import InputError

SHORTER_SIDE, SIDE = 256, 224
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What torchvision's networks take: the shorter side is made this long, then the middle is cut out and normalised."""


def read_imagenet(folder: Path, classes: int, calibration: int, tested: int, seed: int) -> Digits:
    """A random choice of pictures, in memory.

    Args:
        folder: holds ``train`` and ``val``, with a folder for each class in both.
        classes: of the network; the folders' order by name is that of its outputs.
        calibration: number of training pictures.
        tested: number of validation pictures; all of them where there are fewer.
        seed: of the choice.

    Raises:
        InputError: a folder is missing, or there are not as many classes.
    """
    chosen = random.Random(seed)
    train = chosen.sample(files(folder / "train", classes), calibration)
    held_out = files(folder / "val", classes)
    test = chosen.sample(held_out, min(tested, len(held_out)))
    return Digits(*_tensors(train), *_tensors(test))


def files(folder: Path, classes: int) -> list[tuple[Path, int]]:
    """All files below a folder, with the numbers of their classes."""
    if not folder.is_dir():
        raise InputError(f"{folder} is missing: give a folder with train/CLASS/* and val/CLASS/*")
    names = sorted(path for path in folder.iterdir() if path.is_dir())
    if len(names) != classes:
        raise InputError(f"{folder} has {len(names)} folders, the network {classes} classes: give one folder per class")
    return [(path, number) for number, name in enumerate(names) for path in sorted(name.iterdir())]


def _tensors(chosen: Sequence[tuple[Path, int]]) -> tuple[Tensor, Tensor]:
    images = [prepared(torch.from_numpy(read_rgb(path))) for path, _ in chosen]
    return torch.cat(images), torch.tensor([number for _, number in chosen])


def prepared(image: Tensor) -> Tensor:
    """A picture ``H x W x 3``, 8 bit, as the network takes it: float32 ``1 x 3 x 224 x 224``."""
    pixels = image.permute(2, 0, 1)[None].float()
    size = [side * SHORTER_SIDE // min(pixels.shape[2:]) for side in pixels.shape[2:]]
    pixels = F.interpolate(pixels, size, mode="bilinear", antialias=True).round().clamp(0, 255) / 255
    top, left = (round((side - SIDE) / 2) for side in size)
    mean, deviation = (torch.tensor(values)[None, :, None, None] for values in (MEAN, DEVIATION))
    return (pixels[:, :, top : top + SIDE, left : left + SIDE] - mean) / deviation
