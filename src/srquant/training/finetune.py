"""Finetune the bounds of a quantized network so that it repeats what the float network says."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from srquant.data.calibration import CalibrationSet
from srquant.errors import PolicyError
from srquant.models.network import Network
from srquant.quant.layers import QuantAdd, QuantConv2d, QuantLinear, quantizer_of
from srquant.quant.quantizers import ActivationQuantizer, WeightQuantizer
from srquant.training.features import Features
from srquant.training.losses import feature_loss, output_loss
from srquant.training.teacher import Lesson, lessons, record

Group = Literal["activations", "weights"]
EVERY_GROUP: tuple[Group, ...] = ("activations", "weights")
Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, its steps done and its steps in all."""

NARROWEST = 1e-3
"""Bounds stay at least this far apart, relative to their distance before finetuning."""


@dataclass(frozen=True)
class Stage:
    """One pass over the crops.

    Attributes:
        groups: which bounds are learned.
        learning_rate: Adam's; relative to each quantizer's range where the recipe says so.
    """

    groups: tuple[Group, ...]
    learning_rate: float


@dataclass(frozen=True)
class Finetune:
    """A recipe. The default learns all bounds together, with learning rates relative to each range.

    Attributes:
        stages: in their order; one pass over the calibration crops each.
        batch: crops per step.
        feature_weight: of the feature loss beside the output loss.
        relative: learning rates are multiplied by each quantizer's range at the start of the stage, so that
            networks in [0, 1] and [0, 255] and wide and narrow layers learn equally fast.
    """

    stages: tuple[Stage, ...]
    batch: int = 2
    feature_weight: float = 10.0
    relative: bool = True

    def __post_init__(self) -> None:
        if not self.stages or self.batch < 1:
            raise PolicyError(f"finetuning with {len(self.stages)} stages, batch {self.batch}: needs one of each")


def together(passes: int = 6, learning_rate: float = 0.003, decay: float = 0.7) -> Finetune:
    """All bounds at once: 6 passes over 100 crops are 300 steps of 2.

    The feature loss weighs 0.2, which makes both losses about equal at 4 bits; with the published 10 the picture
    itself hardly counts and ends 0.02 to 0.12 dB lower (EDSR 8x64 x2, mse ranges).
    """
    stages = tuple(Stage(EVERY_GROUP, learning_rate * decay**i) for i in range(passes))
    return Finetune(stages, feature_weight=0.2)


def weights_alone(passes: int = 6, learning_rate: float = 0.002, decay: float = 0.7) -> Finetune:
    """Weight bounds only, for weight grids per channel: ranges of activations stay as wide as they were found."""
    stages = tuple(Stage(("weights",), learning_rate * decay**i) for i in range(passes))
    return Finetune(stages, feature_weight=0.2)


def published(passes: int = 10, learning_rate: float = 0.01, decay: float = 0.9) -> Finetune:
    """AdaBM's schedule for its baselines: weights and activations in turn, absolute rates that decay with use."""
    groups: tuple[Group, ...] = ("weights", "activations")
    stages = tuple(Stage((groups[i % 2],), learning_rate * decay ** (i // 2)) for i in range(passes))
    return Finetune(stages, relative=False)


RECIPES: dict[str, Callable[[], Finetune]] = {
    "together": together,
    "weights": weights_alone,
    "published": published,
}


def finetune(
    student: Network, teacher: Network, calibration: CalibrationSet, recipe: Finetune, progress: Progress | None = None
) -> None:
    """Learn the bounds of ``student`` in place; weights and biases stay.

    The teacher runs once per crop: all passes see the same crops, and its outputs wait on disk.

    Args:
        student: quantized, not settled yet.
        teacher: the float network it was made from.
        calibration: low-resolution crops.
        recipe: stages, batch, losses.
        progress: told after every step.
    """
    student.eval().requires_grad_(False)
    with tempfile.TemporaryDirectory(prefix="srquant-") as folder:
        guards = [(quantizer, NARROWEST * _width(quantizer)) for quantizer in _quantizers(student, EVERY_GROUP)]
        count = record(teacher.eval(), calibration.batches(recipe.batch), Path(folder))
        for number, stage in enumerate(recipe.stages, 1):
            optimizer = _prepare(student, stage, recipe.relative)
            name = f"pass {number}/{len(recipe.stages)}"
            for step, lesson in enumerate(lessons(Path(folder), count), 1):
                _step(student, lesson, optimizer, recipe.feature_weight)
                _keep_apart(guards)
                if progress is not None:
                    progress(name, step, count)
    student.requires_grad_(False)


def _step(student: Network, lesson: Lesson, optimizer: torch.optim.Optimizer, feature_weight: float) -> None:
    with Features(student) as features:
        loss = output_loss(student(lesson.images), lesson.output)
        if lesson.features:
            loss = loss + feature_weight * feature_loss(features.take(), lesson.features)
    if not bool(torch.isfinite(loss)):
        raise PolicyError("finetuning diverged: the loss is not finite; lower the learning rate or use more bits")
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


Quantizer = ActivationQuantizer | WeightQuantizer


def _prepare(student: Network, stage: Stage, relative: bool) -> torch.optim.Optimizer:
    student.requires_grad_(False)
    rates: list[dict[str, object]] = []
    for quantizer in _quantizers(student, stage.groups):
        quantizer.requires_grad_(True)
        rate = stage.learning_rate * float(_width(quantizer).mean()) if relative else stage.learning_rate
        rates.append({"params": list(quantizer.parameters()), "lr": rate})
    return torch.optim.Adam(rates)


def _width(quantizer: Quantizer) -> Tensor:
    upper = quantizer.upper.detach()
    return 2 * upper if quantizer.lower is None else upper - quantizer.lower.detach()


def _quantizers(student: Network, groups: tuple[Group, ...]) -> Iterator[Quantizer]:
    """Each once; a grid that a sum and a layer share belongs to both."""
    seen: set[nn.Module] = set()
    for module in student.module.modules():
        if not isinstance(module, QuantConv2d | QuantLinear | QuantAdd):
            continue
        chosen: list[Quantizer] = []
        if "activations" in groups:
            chosen.append(quantizer_of(module))
        if "weights" in groups and not isinstance(module, QuantAdd):
            chosen.append(module.weight_quantizer)
        yield from (quantizer for quantizer in chosen if quantizer not in seen)
        seen.update(chosen)


@torch.no_grad()
def _keep_apart(guards: list[tuple[Quantizer, Tensor]]) -> None:
    for quantizer, narrowest in guards:
        if quantizer.lower is None:
            quantizer.upper.clamp_(min=narrowest / 2)
        else:
            quantizer.upper.copy_(torch.maximum(quantizer.upper, quantizer.lower + narrowest))
