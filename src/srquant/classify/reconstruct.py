"""Reconstruction: learn the rounding and the steps of a unit so that it reproduces the output of the float unit."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.classify.layers import StepQuantizer
from srquant.classify.rounding import AdaptiveRounding, beta_at, penalty
from srquant.classify.units import FORWARD_BATCH, Run
from srquant.errors import PolicyError

NARROWEST = 1e-3
"""A step may not become smaller than this fraction of its initial value."""


@dataclass(frozen=True)
class Schedule:
    """Settings for learning one unit.

    Attributes:
        iterations: steps of Adam.
        batch: images per step.
        rounding_rate: learning rate of the rounding variables, constant.
        step_rate: learning rate of the quantizers' steps, cosine to 0.
        penalty_weight: weight of the penalty that pushes every rounding to up or down.
        warmup: fraction of the iterations without that penalty.
        beta: first and last exponent of the penalty.
    """

    iterations: int
    batch: int = 32
    rounding_rate: float = 1e-3
    step_rate: float = 4e-5
    penalty_weight: float = 0.01
    warmup: float = 0.2
    beta: tuple[float, float] = (20.0, 2.0)

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.batch < 1:
            raise PolicyError(f"iterations={self.iterations}, batch={self.batch}: both must be at least 1")

    def penalty(self, roundings: list[AdaptiveRounding], iteration: int) -> Tensor | float:
        """Weighted penalty of all rounding variables; iterations are numbered from 1."""
        if iteration < self.warmup * self.iterations:
            return 0.0
        beta = beta_at(iteration, self.iterations, self.warmup, *self.beta)
        return self.penalty_weight * sum(penalty(rounding.share(), beta) for rounding in roundings)


@dataclass(frozen=True)
class Learner:
    """The rounding variables and the quantizers of a unit that are learned."""

    roundings: list[AdaptiveRounding]
    quantizers: list[StepQuantizer]

    def parameters(self) -> list[nn.Parameter]:
        """The logits of all rounding variables and the steps of all quantizers."""
        return [*(r.logits for r in self.roundings), *(q.step for q in self.quantizers)]

    def optimizers(self, schedule: Schedule) -> list[torch.optim.Adam]:
        """One optimizer for the rounding variables and one for the steps; none for an empty list."""
        rates = [
            ([r.logits for r in self.roundings], schedule.rounding_rate),
            ([q.step for q in self.quantizers], schedule.step_rate),
        ]
        return [torch.optim.Adam(parameters, rate) for parameters, rate in rates if parameters]


def reconstruct(
    learner: Learner,
    count: int,
    schedule: Schedule,
    loss: Callable[[Tensor], Tensor],
    error: Callable[[], float],
    report: Callable[[], None] = lambda: None,
) -> None:
    """Learn a unit in place; if the result has a larger error than rounding to nearest, restore the start.

    Args:
        learner: the unit's rounding variables and steps.
        count: number of calibration images.
        schedule: iterations, rates, penalty.
        loss: maps the indices of the images of a batch to the reconstruction loss.
        error: gives the reconstruction error on all images, with the unit as it is used after learning.
        report: called after each iteration.
    """
    if not learner.parameters():
        return
    start, before = [p.detach().clone() for p in learner.parameters()], error()
    narrowest = [NARROWEST * q.step.detach() for q in learner.quantizers]
    optimizers = learner.optimizers(schedule)
    with _learning(learner):
        for iteration in range(1, schedule.iterations + 1):
            value = loss(torch.randperm(count)[: schedule.batch]) + schedule.penalty(learner.roundings, iteration)
            _step(optimizers, value)
            _lower_step_rate(learner, optimizers[-1], schedule, iteration)
            for quantizer, least in zip(learner.quantizers, narrowest, strict=True):
                quantizer.step.data.clamp_(min=least)
            report()
    if not error() <= before:
        for parameter, value in zip(learner.parameters(), start, strict=True):
            parameter.data.copy_(value)


@contextmanager
def _learning(learner: Learner) -> Iterator[None]:
    """Soft rounding and gradients inside, hard rounding afterwards."""
    for parameter in learner.parameters():
        parameter.requires_grad_(True)
    for rounding in learner.roundings:
        rounding.soft = True
    yield
    for parameter in learner.parameters():
        parameter.requires_grad_(False)
    for rounding in learner.roundings:
        rounding.soft = False


def _step(optimizers: list[torch.optim.Adam], value: Tensor) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()


def _lower_step_rate(learner: Learner, last: torch.optim.Adam, schedule: Schedule, iteration: int) -> None:
    """Set the learning rate of the steps, which falls to 0 along a cosine."""
    if learner.quantizers:
        turn = math.cos(math.pi * iteration / schedule.iterations)
        last.param_groups[0]["lr"] = schedule.step_rate * (1 + turn) / 2


def lp_loss(output: Tensor, target: Tensor, power: float = 2.0) -> Tensor:
    """``|difference|**power``, summed over channels, mean over images and positions; 0-d."""
    return (output - target).abs().pow(power).sum(1).mean()


@torch.no_grad()
def unit_error(run: Run, inputs: Tensor, targets: Tensor, power: float = 2.0) -> float:
    """``lp_loss`` of a unit over all images."""
    pairs = zip(torch.split(inputs, FORWARD_BATCH), torch.split(targets, FORWARD_BATCH), strict=True)
    return sum(float(lp_loss(run(x), y, power)) * len(x) for x, y in pairs) / len(inputs)
