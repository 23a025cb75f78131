"""GBA on ResNet-18 ("Gradient Knows Best", CVPR 2026, table 5 of its supplement): gradients choose the bits of layers.

1. Fold batch norms. Bounds of each layer's input: min-max with moving average; of its weights: smallest squared error.
2. For each layer between the first and the last, average the gradient of the loss with respect to its number of bits
   over two epochs, and choose the bits by the ranks of these gradients: first for activations, then for weights.
3. Learn the bounds of activations and weights with these bits; the weights themselves are not trained.

The loss compares with the float network: mean L1 of the logits, plus ten times the distance of the normalised features
of the eight blocks. The supplement doesn't state the loss for ResNet-18, nor the granularity of its weights, nor
whether its ranges are dynamic.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from srquant.classify.gradient_layer import GradientLayer, inputs_of_layers, insert_gradient_layers
from srquant.classify.insert import CLASSIFIER, STEM
from srquant.classify.resnet import ResNet18, blocks, folded
from srquant.classify.seed import seeded
from srquant.distillation.lessons import Lesson
from srquant.distillation.loop import NARROWEST, adam, bound_rates
from srquant.distillation.losses import normalised
from srquant.distillation.recipes import LearnedGroup, Progress, counter, distillation
from srquant.errors import PolicyError
from srquant.grids.uniform import FEWEST_BITS
from srquant.insertion.policy import Granularity, LayerBits
from srquant.methods.gba.allocation import allocate_bits
from srquant.methods.gba.bit_offsets import MeanGradients, learnable_bits
from srquant.methods.options import option
from srquant.models.hooks import kept_outputs


@dataclass(frozen=True)
class GBA:
    """Options of GBA."""

    mixed: Literal["activations", "both"] = option("both", "whose bits differ by layer", "Ours*; Ours: activations")
    largest: int = option(1, "largest difference of a layer's bits from the base", "GBA table 8")
    dynamic: bool = option(False, "ranges per image and channel (DAN); not comparable with static ones", "not stated")
    weights: Granularity = option("channel", "one grid per tensor or per output channel", "not stated")
    epochs: int = option(2, "epochs of each of the three parts", "GBA supplement", least=1)
    batch: int = option(2, "images per step", "GBA supplement", least=1)
    statistics_batch: int = option(16, "images per batch of min-max", "GBA supplement")
    momentum: float = option(0.9, "weight of earlier batches in the moving average", "GBA supplement", most=1)
    feature_weight: float = option(10.0, "weight of the feature loss", "GBA supplement")
    learning_rate: float = option(0.01, "learning rate of the bounds", "GBA supplement")
    seed: int = option(0, "seed of the batches", "ours")


def quantize(
    network: ResNet18, images: Tensor, bits: LayerBits, config: GBA, progress: Progress | None = None
) -> ResNet18:
    """Quantize with bits that are chosen by gradients.

    Args:
        network: float, with or without batch norms; left unchanged.
        images: calibration images as the network takes them, ``N x 3 x H x W``, on its device.
        bits: base bits of the layers between the first and the last; those two have 8.
        config: options.
        progress: called after every step.

    Returns:
        The quantized network, whose layers are ``gradient_layers``; with a base of 8 bits some have 9.

    Raises:
        PolicyError: a layer could get fewer than 2 bits.
    """
    if min(bits.weight, bits.activation) - config.largest < FEWEST_BITS:
        raise PolicyError(f"{bits} minus {config.largest} is below {FEWEST_BITS} bits: use more bits")
    teacher = folded(network)
    bounds = inputs_of_layers(teacher, torch.split(images, config.statistics_batch), config.momentum)
    student = insert_gradient_layers(teacher, bits, bounds, config.weights, config.dynamic)
    groups: tuple[LearnedGroup, ...] = ("activations",) if config.mixed == "activations" else ("activations", "weights")
    with seeded(config.seed):
        for group in groups:
            allocate(group, student, teacher, images, config, progress)
        finetune(student, teacher, images, config, progress)
    return student.requires_grad_(False)


def allocate(
    group: LearnedGroup, student: ResNet18, teacher: ResNet18, images: Tensor, config: GBA, progress: Progress | None
) -> None:
    """Choose the bits of activations or weights of every layer between the first and the last (Eq. 6 and 7)."""
    layers = [layer for name, layer in gradient_layers(student).items() if name not in (STEM, CLASSIFIER)]
    quantizers = [layer.quantizer(group) for layer in layers]
    report = counter(progress, f"gradients of {group}", steps_of(images, config))
    with learnable_bits(quantizers) as offsets:
        gradients = MeanGradients(offsets)
        for batch in batches(images, config):
            distance(student, teacher, batch, config.feature_weight).backward()  # type: ignore[no-untyped-call]
            gradients.add()
            report()
    for quantizer, offset in zip(quantizers, allocate_bits(gradients.means(), config.largest), strict=True):
        quantizer.bits += offset


def finetune(student: ResNet18, teacher: ResNet18, images: Tensor, config: GBA, progress: Progress | None) -> None:
    """Learn all bounds; bits and weights stay fixed."""
    quantizers = [q for layer in gradient_layers(student).values() for q in (layer.inputs, layer.weights)]
    narrowest = [NARROWEST * quantizer.width() for quantizer in quantizers]
    optimizer = adam(bound_rates(quantizers, config.learning_rate, relative=False))
    for quantizer in quantizers:
        quantizer.requires_grad_(True)
    report = counter(progress, "bounds", steps_of(images, config))
    for batch in batches(images, config):
        optimizer.zero_grad()
        distance(student, teacher, batch, config.feature_weight).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        for quantizer, least in zip(quantizers, narrowest, strict=True):
            quantizer.keep_apart(least)
        report()


def distance(student: ResNet18, teacher: ResNet18, images: Tensor, feature_weight: float) -> Tensor:
    """``L_rec + feature_weight * L_feat`` (Eq. 1 and 3), 0-d."""
    with torch.no_grad():
        wanted, wanted_features = outputs(teacher, images)
    logits, features = outputs(student, images)
    lesson = Lesson(images, wanted, [normalised(feature) for feature in wanted_features])
    return distillation(feature_weight)(logits, features, lesson)


def outputs(network: ResNet18, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits and the outputs of the eight blocks."""
    with kept_outputs(*(network.get_submodule(name) for name in blocks(network))) as features:
        logits: Tensor = network(images)
    return logits, features


def batches(images: Tensor, config: GBA) -> Iterator[Tensor]:
    """Batches that contain every image once per epoch, in a new random order each time."""
    for _ in range(config.epochs):
        for chosen in torch.split(torch.randperm(len(images)), config.batch):
            yield images[chosen]


def steps_of(images: Tensor, config: GBA) -> int:
    """Number of batches in all epochs."""
    return config.epochs * -(-len(images) // config.batch)


def gradient_layers(network: nn.Module) -> dict[str, GradientLayer]:
    """The quantized layers by name, in module order."""
    return {name: module for name, module in network.named_modules() if isinstance(module, GradientLayer)}
