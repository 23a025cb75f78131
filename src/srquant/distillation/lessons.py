"""Lessons: batches of calibration crops with the float network's outputs and features.

They are computed once and kept on disk (``recorded``), or computed whenever they are needed (``FreshLessons``).
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from srquant.distillation.features import features_of
from srquant.distillation.losses import normalised
from srquant.models.network import Network

LAYOUT = torch.channels_last
"""Memory format of pictures and feature maps in training: convolutions take half the time of contiguous ones."""

FEATURE_SCALE = 2.0**7
"""Normalised features are multiplied by this before they are stored in half precision, to avoid subnormal values."""


@dataclass(frozen=True)
class Lesson:
    """A lesson: a batch of crops with the float network's (teacher's) output and features.

    Attributes:
        images: the crops, ``N x 3 x H x W`` in [0, 1].
        output: the teacher's output, ``N x 3 x sH x sW``.
        features: the teacher's normalised features.
    """

    images: Tensor
    output: Tensor
    features: list[Tensor]


@dataclass(frozen=True)
class Lessons:
    """Recorded lessons; can be iterated any number of times, one lesson is in memory at a time."""

    folder: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Lesson]:
        return read_lessons(self.folder, self.count)


@dataclass(frozen=True)
class FreshLessons:
    """Lessons that are computed whenever they are iterated; nothing is kept, the teacher runs in every step.

    Attributes:
        teacher: float, in evaluation mode.
        batches: starts the batches, ``N x 3 x H x W`` in [0, 1], from the first one.
    """

    teacher: Network
    batches: Callable[[], Iterable[Tensor]]

    def __iter__(self) -> Iterator[Lesson]:
        return (lesson_of(self.teacher, images) for images in self.batches())


@torch.no_grad()
def lesson_of(teacher: Network, images: Tensor) -> Lesson:
    """The teacher's lesson of one batch, ``N x 3 x H x W`` in [0, 1], on the teacher's device."""
    images = images.to(next(teacher.parameters()).device)
    with features_of(teacher) as features:
        output = teacher(images.contiguous(memory_format=LAYOUT))
        return Lesson(images, output, [normalised(feature) for feature in features.take()])


@contextmanager
def recorded(teacher: Network, batches: Iterable[Tensor]) -> Iterator[Lessons]:
    """The teacher's lessons, kept in a temporary folder.

    Args:
        teacher: float; runs once per batch.
        batches: ``N x 3 x H x W`` in [0, 1], one for each lesson.
    """
    with tempfile.TemporaryDirectory(prefix="srquant-") as folder:
        yield Lessons(Path(folder), write_lessons(teacher.eval(), batches, Path(folder)))


@torch.no_grad()
def write_lessons(teacher: Network, batches: Iterable[Tensor], folder: Path) -> int:
    """Run the teacher on every batch and write its lessons to ``folder``; returns their number."""
    count = 0
    with features_of(teacher) as features:
        for images in batches:
            output = teacher(images.contiguous(memory_format=LAYOUT))
            lesson = {"images": _last(images), "output": _last(output)}
            for i, feature in enumerate(features.take()):
                lesson[f"feature{i:04d}"] = _stored(normalised(feature))
            save_file(lesson, folder / f"{count}.safetensors")
            count += 1
    return count


def read_lessons(folder: Path, count: int) -> Iterator[Lesson]:
    """The lessons that ``write_lessons`` wrote, in their order; one is in memory at a time."""
    for i in range(count):
        tensors = load_file(folder / f"{i}.safetensors")
        names = sorted(name for name in tensors if name.startswith("feature"))
        images, output = (tensors[name].movedim(-1, 1) for name in ("images", "output"))
        yield Lesson(images, output, [_read(tensors[name]) for name in names])


def _stored(feature: Tensor) -> Tensor:
    """In half precision."""
    return _last(feature * FEATURE_SCALE).half()


def _read(stored: Tensor) -> Tensor:
    return stored.float().div_(FEATURE_SCALE).movedim(-1, 1)


def _last(values: Tensor) -> Tensor:
    """``N x C x ...`` to contiguous ``N x ... x C``, as ``LAYOUT`` has it in memory."""
    return values.movedim(1, -1).contiguous()
