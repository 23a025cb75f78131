"""Learning for a number of iterations: lessons are repeated, learning rates follow half a cosine."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from torch.optim.lr_scheduler import LambdaLR

from srquant.distillation.lessons import Lesson
from srquant.distillation.loop import Loss, Quantizer, adam, bound_rates, train_pass
from srquant.errors import PolicyError
from srquant.models.network import Network


@dataclass(frozen=True)
class Iterations:
    """How long and how fast bounds learn.

    Attributes:
        count: steps of the optimizer.
        first: Adam's learning rate at the start.
        last: learning rate at the end, reached along half a cosine.
        relative: rates are multiplied by each quantizer's range at the start.
        betas: Adam's.
    """

    count: int
    first: float
    last: float
    relative: bool = False
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.last <= self.first:
            rates = f"learning rates from {self.first} to {self.last}"
            raise PolicyError(f"{self.count} iterations, {rates}: give at least one, and falling rates of at least 0")


def iterate(
    student: Network,
    quantizers: Iterable[Quantizer],
    lessons: Iterable[Lesson],
    plan: Iterations,
    loss: Loss,
    guards: Callable[[], None],
    report: Callable[[], None],
) -> None:
    """Learn the bounds of ``quantizers``, in place; lessons are repeated in their order as often as needed.

    Args:
        student: quantized, not settled.
        quantizers: some of the student's.
        lessons: of the teacher; can be iterated any number of times.
        plan: number of iterations and learning rates.
        loss: what is minimised.
        guards: called after each step.
        report: called after each step as well.
    """
    optimizer = adam(bound_rates(quantizers, plan.first, plan.relative), plan.betas)
    schedule = LambdaLR(optimizer, lambda done: cosine(done / plan.count, plan.last / max(plan.first, 1e-30)))

    def after_step() -> None:
        guards()
        schedule.step()

    train_pass(student, islice(repeat_forever(lessons), plan.count), optimizer, loss, after_step, report)


def cosine(done: float, last: float) -> float:
    """From 1 at 0 to ``last`` at 1 along half a cosine."""
    return last + (1 - last) * (1 + math.cos(math.pi * done)) / 2


def repeat_forever(lessons: Iterable[Lesson]) -> Iterator[Lesson]:
    """The lessons in their order, repeated without end."""
    while True:
        yield from lessons


def epochs(iterations: int, batch: int, pictures: int, most: int) -> int:
    """How many different crops of each picture to record: as many as the iterations use, at most ``most``."""
    return min(most, math.ceil(iterations * batch / pictures))
