"""The training loop of finetuning: an optimizer changes the student's bounds so that it reproduces the lessons."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.devices import CPU, full_float32, tf32_gradients
from srquant.distillation.features import features_of
from srquant.distillation.lessons import Lesson, in_layout
from srquant.distillation.observed import show_student
from srquant.errors import PolicyError
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import activation_quantizers, quant_layers, quantized_weight

Loss = Callable[[Tensor, list[Tensor], Lesson], Tensor]
"""From the student's output and features, and the lesson, to a 0-d tensor."""

Quantizer = ActivationQuantizer | WeightQuantizer

NARROWEST = 1e-3
"""Bounds stay at least this far apart, relative to their distance before finetuning."""


@dataclass(frozen=True)
class Rate:
    """Parameters that learn at one rate."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float


def adam(
    rates: Iterable[Rate], betas: tuple[float, float] = (0.9, 0.999), capturable: bool = False
) -> torch.optim.Adam:
    """Adam with one group per rate.

    Args:
        rates: the parameters.
        betas: decays of the averages.
        capturable: whether a CUDA graph can record a step; rates are tensors then, so that ``scale_rates`` reaches it.
    """
    groups = [
        {"params": list(rate.parameters), "lr": _number(rate) if capturable else rate.learning_rate} for rate in rates
    ]
    return torch.optim.Adam(groups, betas=betas, capturable=capturable, fused=capturable)


def _number(rate: Rate) -> Tensor:
    """A learning rate as a 0-d tensor on the device of its parameters."""
    return torch.tensor(rate.learning_rate, device=next((parameter.device for parameter in rate.parameters), CPU))


@full_float32()
def train_pass(
    student: Network,
    lessons: Iterable[Lesson],
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    after_step: Callable[[], None],
    report: Callable[[], None] = lambda: None,
) -> None:
    """One pass over the lessons; only the optimizer's parameters are learned, constant quantized weights are cached.

    Args:
        student: quantized, not settled; changed in place.
        lessons: one step each.
        optimizer: of some of the student's parameters.
        loss: what is minimised.
        after_step: called after each step, such as ``Guards``.
        report: called after each step as well.

    Raises:
        PolicyError: the loss is not finite.
    """
    learn_only(student.eval(), optimizer)
    show_student(student)
    with cached_weights(student):
        for lesson in lessons:
            step(student, lesson, optimizer, loss)
            after_step()
            report()


def learn_only(student: Network, optimizer: torch.optim.Optimizer) -> None:
    """Only the optimizer's parameters learn."""
    student.requires_grad_(False)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(True)


def scale_rates(optimizer: torch.optim.Optimizer, first: Sequence[float], factor: float) -> None:
    """Set the learning rate of each group to ``factor`` times its first one, in place where it is a tensor."""
    for group, rate in zip(optimizer.param_groups, first, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate * factor)
        else:
            group["lr"] = rate * factor


def step(student: Network, lesson: Lesson, optimizer: torch.optim.Optimizer, loss: Loss) -> float:
    """Forward, backward, one step of the optimizer; returns the loss.

    Raises:
        PolicyError: the loss is not finite.
    """
    value = loss_of(student, lesson, loss)
    number = finite(value)
    optimizer.zero_grad()
    with tf32_gradients():
        value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return number


def loss_of(student: Network, lesson: Lesson, loss: Loss) -> Tensor:
    """The loss of one lesson, 0-d."""
    images = in_layout(lesson.images)
    with features_of(student) as features:
        return loss(student(images), features.take(), lesson)


def finite(value: Tensor) -> float:
    """The number in a 0-d tensor.

    Raises:
        PolicyError: it is not finite.
    """
    number = float(value.detach())
    if not math.isfinite(number):
        raise PolicyError("finetuning diverged: the loss is not finite; lower the learning rate or use more bits")
    return number


@contextmanager
def cached_weights(student: Network) -> Iterator[None]:
    """Quantized weights whose bounds aren't being learned are computed once, not in every step."""
    layers = quant_layers(student).values()
    try:
        for layer in layers:
            weight = quantized_weight(layer)
            layer.cached_weight = None if weight.requires_grad else weight
        yield
    finally:
        for layer in layers:
            layer.cached_weight = None


def bound_rates(quantizers: Iterable[Quantizer], learning_rate: float, relative: bool) -> list[Rate]:
    """One rate for the bounds of each quantizer, multiplied by its present range if ``relative``."""
    return [Rate(list(quantizer.parameters()), rate_of(quantizer, learning_rate, relative)) for quantizer in quantizers]


def rate_of(quantizer: Quantizer, learning_rate: float, relative: bool) -> float:
    """The learning rate of a quantizer's bounds, times its present range if ``relative``.

    For ranges per channel it is their geometric mean: after a normalisation some are fifty times wider than others, and
    steps in proportion to the arithmetic mean would be too large for the narrow ones.
    """
    if not relative:
        return learning_rate
    ranges = quantizer.width()
    return learning_rate * float(ranges if ranges.dim() == 0 else ranges.log().mean().exp())


def decay(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Multiply all learning rates."""
    for group in optimizer.param_groups:
        group["lr"] *= factor


class Guards:
    """Keeps upper and lower bounds at least ``narrowest`` times their first distance apart; call it after each step."""

    def __init__(self, student: Network, narrowest: float = NARROWEST) -> None:
        weights = (layer.weight_quantizer for layer in quant_layers(student).values())
        quantizers: list[Quantizer] = [*activation_quantizers(student).values(), *weights]
        self.narrowest = [(quantizer, narrowest * quantizer.width()) for quantizer in quantizers]

    @torch.no_grad()
    def __call__(self) -> None:
        """Move upper bounds up where they are too close to the lower ones."""
        for quantizer, narrowest in self.narrowest:
            quantizer.keep_apart(narrowest)
