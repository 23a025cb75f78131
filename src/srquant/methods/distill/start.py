"""The start of learning: ranges of smallest squared error, weights rounded by GPTQ, yet near the float weights."""

import math
from collections.abc import Iterable

import torch

from srquant.data.calibration import CalibrationSet
from srquant.devices import full_float32
from srquant.distillation.lessons import LAYOUT, Lesson
from srquant.distillation.losses import output_loss
from srquant.grids.range_rules import minmax, mse, symmetric_mse
from srquant.insertion.plan import QuantizationPlan
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


def best_start(
    network: Network, calibration: CalibrationSet, plan: QuantizationPlan, held_out: Iterable[Lesson]
) -> Network:
    """A quantized copy of the float network, not settled.

    At 7 and 8 bits ``tails`` is tried as well, and the start with the smaller error taken.

    Args:
        network: the float network.
        calibration: for the ranges and the rounding.
        plan: of this network.
        held_out: lessons by which starts are compared.
    """
    by_error = started(network, calibration, plan, Ranges(mse, symmetric_mse, MOMENTUM, minmax))
    bits = plan.policy.base
    if 2 ** max(bits.activation, bits.weight) <= MANY_LEVELS:
        return by_error
    by_tails = started(network, calibration, plan, Ranges(activation_tails(SHARE), weight_tails, MOMENTUM, minmax))
    return min((by_error, by_tails), key=lambda student: error(student, held_out))


def started(network: Network, calibration: CalibrationSet, plan: QuantizationPlan, ranges: Ranges) -> Network:
    """A quantized copy with these ranges, weights rounded by GPTQ."""
    student = insert_by_ranges(network, calibration, plan, ranges)
    round_weights(student, network, calibration.batches(BATCH), "gptq")
    move_near_float(student, network)
    return student


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
