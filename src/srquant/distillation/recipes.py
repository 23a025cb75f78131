"""Finetune the bounds of a quantized network so that it reproduces the float network's outputs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lesson, recorded
from srquant.distillation.loop import Guards, Loss, Quantizer, Rate, adam, bound_rates, train_pass
from srquant.distillation.losses import WHITE, feature_distance, feature_loss, output_loss, root_mean_square
from srquant.errors import PolicyError
from srquant.models.network import Network
from srquant.quantizers.layers import activation_quantizers, quant_layers

LearnedGroup = Literal["activations", "weights"]
"""Quantizers that learn at the same time: those of activations or those of weights."""

EVERY_GROUP: tuple[LearnedGroup, ...] = ("activations", "weights")
Distance = Callable[[Tensor, Tensor], Tensor]
"""Distance between two batches of pictures in [0, 1], 0-d."""

DISTANCES: dict[str, Distance] = {"absolute": output_loss, "squares": root_mean_square}

FeatureDistance = Callable[[list[Tensor], list[Tensor]], Tensor]
"""Distance between a student's features and a teacher's normalised features, 0-d."""

FEATURE_DISTANCES: dict[str, FeatureDistance] = {"squared": feature_loss, "plain": feature_distance}

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, the number of finished steps and the number of all steps."""


@dataclass(frozen=True)
class Stage:
    """One pass over the crops.

    Attributes:
        groups: which bounds are learned.
        learning_rate: Adam's; relative to each quantizer's range if ``Finetune.relative``.
    """

    groups: tuple[LearnedGroup, ...]
    learning_rate: float


@dataclass(frozen=True)
class Finetune:
    """A recipe. By default, learning rates are relative to each quantizer's range.

    Attributes:
        stages: one pass over the calibration crops each, in this order.
        batch: crops per step.
        feature_weight: factor of the feature loss that is added to the output loss.
        feature_distance: L2 distance of normalised features, ``squared`` or ``plain`` (AdaBM Eq. 10).
        distance: between the pictures: mean absolute, or root mean square, which is what PSNR measures.
        relative: learning rates are multiplied by each quantizer's range at the start of the stage, so that
            networks in [0, 1] and [0, 255] and wide and narrow layers learn equally fast.
        restarts: whether Adam's averages start anew in every stage, or continue from the last stage of the same groups.
    """

    stages: tuple[Stage, ...]
    batch: int = 2
    feature_weight: float = 10.0
    feature_distance: Literal["squared", "plain"] = "squared"
    distance: Literal["absolute", "squares"] = "absolute"
    relative: bool = True
    restarts: bool = True

    def __post_init__(self) -> None:
        if not self.stages or self.batch < 1:
            raise PolicyError(f"finetuning with {len(self.stages)} stages, batch {self.batch}: needs 1 or more of each")


def together(passes: int = 6, learning_rate: float = 0.003, decay: float = 0.7) -> Finetune:
    """All bounds at once: 6 passes over 100 crops are 300 steps of 2.

    The feature loss weighs 0.2, which makes both losses about equal at 4 bits; with the published 10 the output
    loss has little weight and PSNR ends 0.02 to 0.12 dB lower (EDSR 8x64 x2, mse ranges).
    """
    stages = tuple(Stage(EVERY_GROUP, learning_rate * decay**i) for i in range(passes))
    return Finetune(stages, feature_weight=0.2)


def squares(passes: int = 6, learning_rate: float = 0.003, decay: float = 0.7) -> Finetune:
    """As ``together``, with the root mean square difference of the pictures as output loss."""
    return replace(together(passes, learning_rate, decay), distance="squares")


def weights_alone(passes: int = 6, learning_rate: float = 0.002, decay: float = 0.7) -> Finetune:
    """Weight bounds only, for weight grids per channel: bounds of activations stay unchanged."""
    stages = tuple(Stage(("weights",), learning_rate * decay**i) for i in range(passes))
    return Finetune(stages, feature_weight=0.2)


def published(passes: int = 10, learning_rate: float = 0.01, decay: float = 0.9) -> Finetune:
    """AdaBM's schedule for its baselines: weights and activations in turn, absolute rates that decay after each turn.

    Its output loss is in grey levels, 255 times ours, and its feature loss has weight 10.
    """
    groups: tuple[LearnedGroup, ...] = ("weights", "activations")
    stages = tuple(Stage((groups[i % 2],), learning_rate * decay ** (i // 2)) for i in range(passes))
    return Finetune(stages, 2, 10 / WHITE, feature_distance="plain", relative=False, restarts=False)


RECIPES: dict[str, Callable[[], Finetune]] = {
    "together": together,
    "squares": squares,
    "weights": weights_alone,
    "published": published,
}


def finetune(
    student: Network, teacher: Network, calibration: CalibrationSet, recipe: Finetune, progress: Progress | None = None
) -> None:
    """Learn the bounds of ``student`` in place; weights and biases stay.

    The teacher runs once per crop: all passes use the same crops, and its outputs are kept on disk.

    Args:
        student: quantized, not settled yet.
        teacher: the float network it was made from.
        calibration: low-resolution crops.
        recipe: stages, batch, losses.
        progress: called after every step.
    """
    guards, optimizers = Guards(student), dict[tuple[LearnedGroup, ...], torch.optim.Adam]()
    loss = distillation(recipe.feature_weight, DISTANCES[recipe.distance], FEATURE_DISTANCES[recipe.feature_distance])
    with recorded(teacher, calibration.batches(recipe.batch)) as lessons:
        for number, stage in enumerate(recipe.stages, 1):
            report = counter(progress, f"pass {number}/{len(recipe.stages)}", len(lessons))
            rates = bound_rates(_quantizers(student, stage.groups), stage.learning_rate, recipe.relative)
            if recipe.restarts or stage.groups not in optimizers:
                optimizers[stage.groups] = adam(rates)
            set_rates(optimizers[stage.groups], rates)
            train_pass(student, lessons, optimizers[stage.groups], loss, guards, report)
    student.requires_grad_(False)


def set_rates(optimizer: torch.optim.Optimizer, rates: list[Rate]) -> None:
    """Set the optimizer's learning rates; ``rates`` in the order it was made from."""
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate.learning_rate


def distillation(
    feature_weight: float, distance: Distance = output_loss, feature_distance: FeatureDistance = feature_loss
) -> Loss:
    """Distance of the pictures plus ``feature_weight`` times that of features, if the network has features."""

    def loss(output: Tensor, features: list[Tensor], lesson: Lesson) -> Tensor:
        total = distance(output, lesson.output)
        return total + feature_weight * feature_distance(features, lesson.features) if lesson.features else total

    return loss


def counter(progress: Progress | None, name: str, total: int) -> Callable[[], None]:
    """A function that counts its calls and reports them to ``progress``."""
    done = 0

    def report() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(name, done, total)

    return report


def _quantizers(student: Network, groups: tuple[LearnedGroup, ...]) -> Iterator[Quantizer]:
    if "activations" in groups:
        yield from activation_quantizers(student).values()
    if "weights" in groups:
        yield from (layer.weight_quantizer for layer in quant_layers(student).values())
