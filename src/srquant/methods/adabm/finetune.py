"""AdaBM's finetuning phase: weight bounds, activation bounds and bits learn in turns."""

from contextlib import nullcontext

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lesson, recorded
from srquant.distillation.loop import Guards, Loss, Rate, adam, decay, rate_of, train_pass
from srquant.distillation.losses import WHITE, feature_distance, output_loss
from srquant.distillation.recipes import Progress, counter
from srquant.methods.adabm.adaptive_bits import AdaptiveNetwork, mean_bits
from srquant.methods.adabm.adaptive_weights import weight_bits_above_base
from srquant.methods.adabm.clipping_gradients import clipping_gradients
from srquant.methods.adabm.layer_to_bit import LayerToBit
from srquant.methods.adabm.options import ORDERS, AdaBM, Turn
from srquant.models.network import Network, modules_of
from srquant.quantizers.layers import activation_quantizers, quant_layers

NARROWEST = 0.5
"""Bounds stay this far apart, relative to their distance before finetuning (ours). Without this, one step at the
published rate takes the narrowest bounds to zero, and one gradient there is so large that Adam hardly moves them
afterwards."""


def finetune(
    student: Network,
    teacher: Network,
    calibration: CalibrationSet,
    target_bits: int,
    config: AdaBM,
    progress: Progress | None,
) -> None:
    """Finetuning phase: what is learned takes turns, one per pass, in place."""
    rates = rates_of(student, config)
    order = [turn for turn in ORDERS[config.order] if rates[turn]]
    optimizers = {turn: adam(rates[turn]) for turn in order}
    guards = Guards(student, NARROWEST)
    gradients = clipping_gradients(student) if config.bound_gradient == "paper" else nullcontext()
    with recorded(teacher, calibration.batches(config.batch)) as lessons, gradients:
        for epoch in range(config.epochs):
            turn = order[epoch % len(order)]
            report = counter(progress, f"pass {epoch + 1}/{config.epochs} {turn}", len(lessons))
            loss = loss_of(student, turn, target_bits, config)
            train_pass(student, lessons, optimizers[turn], loss, lambda: keep_apart(student, guards), report)
            for decaying in order if config.decay_schedule == "paper" else [turn]:
                decay(optimizers[decaying], config.decay)


def rates_of(student: Network, config: AdaBM) -> dict[Turn, list[Rate]]:
    """What learns in each turn, and the learning rates."""
    relative = config.rates == "relative"
    weights = (layer.weight_quantizer for layer in quant_layers(student).values())
    bits: list[Rate] = []
    if config.layer_to_bit:
        mappings = modules_of(student, LayerToBit).values()
        bits.append(Rate([layer_to_bit.factor for layer_to_bit in mappings], config.layer_rate))
    if isinstance(student, AdaptiveNetwork):
        bits.append(Rate(list(student.image_to_bit.parameters()), config.image_rate))
    return {
        "weights": [
            Rate([q.upper] if q.lower is None else [q.lower, q.upper], rate_of(q, config.weight_rate, relative))
            for q in weights
        ],
        "activations": [
            Rate([q.lower, q.upper], rate_of(q, config.activation_rate, relative))
            for q in activation_quantizers(student).values()
        ],
        "bits": bits,
    }


def loss_of(student: Network, turn: Turn, target_bits: int, config: AdaBM) -> Loss:
    """Eq. 12 in the turn of bits, else Eq. 13; ``L_pix`` is in grey levels."""

    def loss(output: Tensor, features: list[Tensor], lesson: Lesson) -> Tensor:
        total = WHITE * output_loss(output, lesson.output)
        if lesson.features:
            total = total + config.feature_weight * feature_distance(features, lesson.features)
        return total + config.bit_weight * bit_loss(student, target_bits) if turn == "bits" else total

    return loss


def bit_loss(student: Network, target_bits: int) -> Tensor:
    """``L_bit``: how far the mean bits of the current batch are above the target, at least 0 (Eq. 11); 0-d.

    Where the bits of weights are mixed, the same of weights is added.
    """
    return (mean_bits(student) - target_bits).relu() + weight_bits_above_base(student)


@torch.no_grad()
def keep_apart(student: Network, guards: Guards) -> None:
    """Keep each upper bound above the lower one, and the I2B thresholds as well."""
    guards()
    if isinstance(student, AdaptiveNetwork):
        student.image_to_bit.keep_apart()
