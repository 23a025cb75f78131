"""Lessons: batches of calibration crops with the float network's outputs and features.

They are computed once (``recorded``) and kept on the network's device while they fit into its memory, the others on
disk, on the CPU all on disk; or they are computed whenever they are needed (``FreshLessons``).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from srquant.devices import CPU, free_memory, full_float32
from srquant.distillation.features import features_of
from srquant.distillation.losses import normalised
from srquant.errors import OutputError
from srquant.models.network import Network, device_of, on_device_of
from srquant.temporary_folders import temporary_folder

MEMORY_SHARE = 0.5
"""Share of a device's free memory that lessons may take; learning needs the rest."""

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


Stored = dict[str, Tensor]
"""Tensors of a stored lesson: ``images``, ``output``, ``feature0000`` ..., channels last."""


@dataclass(frozen=True)
class Lessons:
    """Recorded lessons; can be iterated any number of times, one of those on disk is in memory at a time.

    Attributes:
        kept: the first lessons, on the device.
        folder: holds the other lessons, in files named by their numbers.
        count: number of all lessons.
        device: of the tensors of a lesson.
    """

    kept: list[Stored]
    folder: Path
    count: int
    device: torch.device

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Lesson]:
        for i in range(self.count):
            stored = self.kept[i] if i < len(self.kept) else load_file(_file(self.folder, i))
            yield _read(stored, self.device)


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


def in_layout(images: Tensor) -> Tensor:
    """The same pictures, ``N x C x H x W``, in the memory format in which their device learns fastest.

    A CPU takes half the time with channels last. A GPU takes 1.3 to 1.7 times as long with them on crops of 64x64:
    convolutions in full float32 have no fast kernels there.
    """
    return images.contiguous(memory_format=torch.contiguous_format if images.is_cuda else torch.channels_last)


@torch.no_grad()
@full_float32()
def lesson_of(teacher: Network, images: Tensor) -> Lesson:
    """The teacher's lesson of one batch, ``N x 3 x H x W`` in [0, 1], on the teacher's device."""
    images = images.to(device_of(teacher))
    with features_of(teacher) as features:
        output = teacher(in_layout(images))
        return Lesson(images, output, [normalised(feature) for feature in features.take()])


@contextmanager
def recorded(teacher: Network, batches: Iterable[Tensor]) -> Iterator[Lessons]:
    """The teacher's lessons, on its device or in a temporary folder.

    Args:
        teacher: float; runs once per batch.
        batches: ``N x 3 x H x W`` in [0, 1], one for each lesson, on any device.

    Raises:
        OutputError: they can't be written there, such as to a full disk.
    """
    with temporary_folder() as folder:
        yield write_lessons(teacher.eval(), batches, folder, memory_for_lessons(device_of(teacher)))


def memory_for_lessons(device: torch.device) -> int:
    """Bytes of lessons that stay on a device; 0 on the CPU, which reads files from its cache as fast."""
    return 0 if device == CPU else int(MEMORY_SHARE * free_memory(device))


@torch.no_grad()
@full_float32()
def write_lessons(teacher: Network, batches: Iterable[Tensor], folder: Path, memory: int = 0) -> Lessons:
    """Run the teacher on every batch; keep the first lessons, up to ``memory`` bytes, and write the others to disk."""
    kept: list[Stored] = []
    count, device = 0, device_of(teacher)
    with features_of(teacher) as features:
        for images in on_device_of(teacher, batches):
            output = teacher(in_layout(images))
            lesson = {"images": _last(images), "output": _last(output)}
            for i, feature in enumerate(features.take()):
                lesson[f"feature{i:04d}"] = _stored(normalised(feature))
            memory -= sum(tensor.nbytes for tensor in lesson.values())
            if memory >= 0:
                kept.append(lesson)
            else:
                _write(lesson, _file(folder, count))
            count += 1
    return Lessons(kept, folder, count, device)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number}.safetensors"


def _write(lesson: Stored, path: Path) -> None:
    try:
        save_file({name: tensor.cpu() for name, tensor in lesson.items()}, path)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"can't write {path}: {error}; make room there, or name another folder for temporary files with TMPDIR"
        ) from error


def _read(stored: Stored, device: torch.device) -> Lesson:
    tensors = {name: tensor.to(device) for name, tensor in stored.items()}
    names = sorted(name for name in tensors if name.startswith("feature"))
    images, output = (tensors[name].movedim(-1, 1) for name in ("images", "output"))
    return Lesson(images, output, [_restored(tensors[name]) for name in names])


def _stored(feature: Tensor) -> Tensor:
    """In half precision."""
    return _last(feature * FEATURE_SCALE).half()


def _restored(stored: Tensor) -> Tensor:
    """In single precision, in the order of axes of a feature."""
    return stored.float().div_(FEATURE_SCALE).movedim(-1, 1)


def _last(values: Tensor) -> Tensor:
    """``N x C x ...`` to contiguous ``N x ... x C``."""
    return values.movedim(1, -1).contiguous()
