"""The loop: weights, biases and bounds learn together; the iterate with the smallest held-out error is kept.

How fast a network can learn depends on it: rates that help at 2 bits destroy a start that is good already. So where the
held-out error has become much larger than the smallest one, that iterate comes back, and all rates are halved.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor

from srquant.devices import full_float32
from srquant.distillation.graph_step import recordable, stepper
from srquant.distillation.iterations import cosine, repeat_forever
from srquant.distillation.lessons import Lesson, Lessons
from srquant.distillation.loop import Guards, Loss, Rate, adam, learn_only, scale_rates
from srquant.distillation.observed import show_student
from srquant.methods.distill.held_out import error
from srquant.methods.distill.saved import Saved, State
from srquant.models.network import Network
from srquant.training.log import Log

EVALUATIONS = 20
"""How often a run computes the held-out error, writes a row of its log and saves its state."""

TOO_FAR = 1.5
"""A held-out error so many times the smallest one halves the rates."""

LAST_RATE = 0.01
"""Learning rates at the end, relative to those at the start."""


@dataclass
class Learning:
    """A student while it learns.

    Attributes:
        student: quantized, not settled; changed in place.
        optimizer: of all parameters that learn.
        held_out: lessons that are not learned from.
        best: the state with the smallest error on them so far.
        best_error: that error.
        pace: factor of all learning rates: 1, then halved wherever they were too large.
        done: number of steps done.
        losses: of the steps since the last row of the log.
    """

    student: Network
    optimizer: torch.optim.Optimizer
    held_out: Iterable[Lesson]
    best: dict[str, Tensor]
    best_error: float
    pace: float = 1.0
    done: int = 0
    losses: list[float] = field(default_factory=list)

    def evaluate(self) -> float:
        """The held-out error; the state is kept if it is the smallest so far, and comes back if it is much smaller."""
        present = error(self.student, self.held_out)
        if present < self.best_error:
            self.best, self.best_error = copy.deepcopy(self.student.state_dict()), present
        elif present > TOO_FAR * self.best_error:
            self.student.load_state_dict(self.best)
            forget(self.optimizer)
            self.pace /= 2
        return present

    def load(self, state: State) -> None:
        """Continue from a saved state."""
        self.student.load_state_dict(dict(state.student))
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(dict(state.optimizer))
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.best, self.best_error, self.done = dict(state.best), state.best_error, state.steps
        self.pace = state.pace

    def state(self) -> State:
        """Everything that a later process needs to continue."""
        student, optimizer = self.student.state_dict(), self.optimizer.state_dict()
        return State(self.done, student, optimizer, self.best, self.best_error, self.pace)


@full_float32()
def learn(
    student: Network,
    rates: Iterable[Rate],
    lessons: Lessons,
    held_out: Iterable[Lesson],
    loss: Loss,
    steps: int,
    saved: Saved,
    report: Callable[[int], None],
    recorded: bool = True,
) -> None:
    """Learn in place, for ``steps`` steps altogether; continues from the saved state if there is one.

    Args:
        student: quantized, not settled.
        rates: what learns, and how fast at the start.
        lessons: repeated in their order as often as needed.
        held_out: decides which iterate is kept; the start counts as one.
        loss: what is minimised.
        steps: of Adam, whose rates follow half a cosine.
        saved: state and log.
        report: called after each step with the number of steps done.
        recorded: whether steps may be recorded; not where the loss or the network has numbers that change on the CPU.
    """
    recorded = recorded and recordable(student)
    optimizer = adam(rates, capturable=recorded)
    step = stepper(student, optimizer, loss, Guards(student), recorded)
    learn_only(student.eval(), optimizer)
    show_student(student)
    first = [float(group["lr"]) for group in optimizer.param_groups]
    learning = Learning(student, optimizer, held_out, copy.deepcopy(student.state_dict()), math.inf)
    state = saved.state()
    if state is None:
        learning.evaluate()
    else:
        with saved.fitting():
            learning.load(state)
    with saved.log(learning.done) as log:
        begin = time.perf_counter()
        for lesson in remaining(lessons, learning.done, steps):
            scale_rates(optimizer, first, learning.pace * cosine(learning.done / steps, LAST_RATE))
            learning.losses.append(step(lesson))
            learning.done += 1
            if learning.done % max(1, steps // EVALUATIONS) == 0 or learning.done == steps:
                pause(learning, saved, log, begin)
            report(learning.done)
    student.load_state_dict(learning.best)
    student.requires_grad_(False)


def forget(optimizer: torch.optim.Optimizer) -> None:
    """Adam's averages and steps become zero, in place."""
    for state in optimizer.state.values():
        for value in state.values():
            value.zero_()


def remaining(lessons: Lessons, done: int, steps: int) -> Iterator[Lesson]:
    """The lessons of steps ``done`` to ``steps``."""
    return islice(repeat_forever(lessons), done, steps)


def pause(learning: Learning, saved: Saved, log: Log | None, begin: float) -> None:
    """Evaluate, write a row of the log, save."""
    present = learning.evaluate()
    if log is not None:
        loss = math.fsum(learning.losses) / len(learning.losses)
        numbers = {"loss": loss, "held_out_loss": present, "seconds": round(time.perf_counter() - begin, 1)}
        log.write(learning.done, numbers)
    learning.losses.clear()
    saved.save(learning.state())
