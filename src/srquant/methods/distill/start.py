"""The start of learning: ranges by two rules, weights rounded by GPTQ or GPTAQ, whichever gives the smallest error."""

import copy
import math
from collections.abc import Iterable, Iterator
from itertools import chain

import torch

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import LAYOUT, Lesson
from srquant.grids.range_rules import minmax, mse, symmetric_mse
from srquant.insertion.plan import QuantizationPlan
from srquant.methods.distill.near_float import move_near_float
from srquant.methods.ranges.pipeline import BATCH, Ranges, insert_by_ranges
from srquant.methods.ranges.tails import MANY_LEVELS, Tails, activation_tails, weight_tails
from srquant.models.network import Network
from srquant.weight_rounding.choose import Rounding, round_weights

MOMENTUM = 0.9
"""Weight of earlier batches in the moving average of activation bounds, as in ``mse``."""

SHARE = Tails.share
"""Share of values that ``tails`` cuts on each side."""


def best_start(
    network: Network,
    calibration: CalibrationSet,
    plan: QuantizationPlan,
    roundings: Iterable[Rounding],
    held_out: Iterable[Lesson],
) -> Network:
    """A quantized copy of the float network, not settled: of all candidates the one with the smallest error.

    Args:
        network: the float network.
        calibration: for the ranges and the rounding.
        plan: of this network.
        roundings: those that are tried.
        held_out: lessons by which candidates are compared.
    """
    students = candidates(network, calibration, plan, roundings)
    best, smallest = next(students), math.inf
    for student in chain([best], students):
        present = error(student, held_out)
        if present < smallest:
            best, smallest = student, present
    return best


def candidates(
    network: Network, calibration: CalibrationSet, plan: QuantizationPlan, roundings: Iterable[Rounding]
) -> Iterator[Network]:
    """Ranges of smallest squared error, and in case of many bits ``tails``, with each rounding; made one by one."""
    roundings, bits = tuple(roundings), plan.policy.base
    rules = [Ranges(mse, symmetric_mse, MOMENTUM, minmax)]
    if 2 ** max(bits.activation, bits.weight) > MANY_LEVELS:
        rules.append(Ranges(activation_tails(SHARE), weight_tails, MOMENTUM, minmax))
    for ranges in rules:
        found = insert_by_ranges(network, calibration, plan, ranges)
        for rounding in roundings:
            student = copy.deepcopy(found)
            round_weights(student, network, calibration.batches(BATCH), rounding)
            move_near_float(student, network)
            yield student


@torch.no_grad()
def error(student: Network, held_out: Iterable[Lesson]) -> float:
    """Mean squared difference from the float network's pictures in [0, 1]; infinite where a value isn't finite."""
    student.eval()
    errors = [
        float((student(lesson.images.contiguous(memory_format=LAYOUT)) - lesson.output).square().mean())
        for lesson in held_out
    ]
    mean = sum(errors) / len(errors)
    return mean if math.isfinite(mean) else math.inf
