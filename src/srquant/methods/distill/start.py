"""The start of learning: ranges of smallest squared error, weights rounded by GPTQ, yet near the float weights."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from srquant.data.calibration import CalibrationSet
from srquant.devices import full_float32
from srquant.distillation.lessons import LAYOUT, Lesson
from srquant.distillation.losses import output_loss
from srquant.grids.range_rules import minmax, mse, symmetric_mse
from srquant.insertion.plan import QuantizationPlan
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.distill.near_float import move_near_float
from srquant.methods.ranges.pipeline import BATCH, Ranges, insert_by_ranges
from srquant.methods.ranges.tails import MANY_LEVELS, Tails, activation_tails, weight_tails
from srquant.models.network import Network
from srquant.weight_rounding.choose import round_weights

MOMENTUM = 0.9
"""Weight of earlier batches in the moving average of activation bounds, as in ``mse``."""

DISTANCE = output_loss
"""Distance from the float network's pictures: mean absolute difference."""

SHARE = Tails.share
"""Share of values that ``tails`` cuts on each side."""


@dataclass(frozen=True)
class Start:
    """Where learning begins.

    Attributes:
        student: quantized, not settled.
        policy: that it was quantized by.
    """

    student: Network
    policy: Policy


def best_start(
    network: Network, calibration: CalibrationSet, plans: Iterable[QuantizationPlan], held_out: Iterable[Lesson]
) -> Start:
    """The quantized copy with the smallest error before rounding, its weights then rounded by GPTQ.

    At 7 and 8 bits ``tails`` is tried as well.

    Args:
        network: the float network.
        calibration: for the ranges and the rounding.
        plans: of this network; each is tried.
        held_out: lessons by which starts are compared.
    """
    starts = [
        Start(insert_by_ranges(network, calibration, plan, ranges), plan.policy)
        for plan in plans
        for ranges in fitting_ranges(plan.policy.base)
    ]
    best = starts[0] if len(starts) == 1 else min(starts, key=lambda start: error(start.student, held_out))
    round_weights(best.student, network, calibration.batches(BATCH), "gptq")
    move_near_float(best.student, network)
    return best


def fitting_ranges(bits: LayerBits) -> list[Ranges]:
    """The ways to find ranges that are worth trying with so many bits."""
    by_error = Ranges(mse, symmetric_mse, MOMENTUM, minmax)
    if 2 ** max(bits.activation, bits.weight) <= MANY_LEVELS:
        return [by_error]
    return [by_error, Ranges(activation_tails(SHARE), weight_tails, MOMENTUM, minmax)]


@torch.no_grad()
@full_float32()
def error(student: Network, held_out: Iterable[Lesson]) -> float:
    """The loss on lessons that are not learned from, ``DISTANCE``; infinite where a value isn't finite."""
    student.eval()
    errors = [
        float(DISTANCE(student(lesson.images.contiguous(memory_format=LAYOUT)), lesson.output)) for lesson in held_out
    ]
    mean = sum(errors) / len(errors)
    return mean if math.isfinite(mean) else math.inf
