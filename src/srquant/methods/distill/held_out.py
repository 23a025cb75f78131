"""The error on lessons that are not learned from, which decides between starts, iterates and ranges."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from srquant.devices import full_float32
from srquant.distillation.lessons import Lesson, in_layout
from srquant.distillation.losses import output_loss
from srquant.models.network import Network

DISTANCE = output_loss
"""Distance from the float network's pictures: mean absolute difference."""


@torch.no_grad()
@full_float32()
def error(
    student: Network, held_out: Iterable[Lesson], distance: Callable[[Tensor, Tensor], Tensor] = DISTANCE
) -> float:
    """The mean distance on lessons that are not learned from; infinite where a value isn't finite."""
    student.eval()
    errors = [float(distance(student(in_layout(lesson.images)), lesson.output)) for lesson in held_out]
    mean = sum(errors) / len(errors)
    return mean if math.isfinite(mean) else math.inf
