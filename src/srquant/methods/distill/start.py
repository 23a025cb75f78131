"""The start of learning: ranges of smallest squared error, weights rounded by GPTQ, yet near the float weights."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lesson, recorded
from srquant.grids.range_rules import minmax, mse, symmetric_mse
from srquant.insertion.plan import QuantizationPlan
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.settle_on_lattice import settle_bounds
from srquant.methods.distill.held_out import error
from srquant.methods.distill.narrow import narrow_ranges
from srquant.methods.distill.near_float import move_near_float
from srquant.methods.ranges.pipeline import BATCH, Ranges, insert_by_ranges
from srquant.methods.ranges.tails import MANY_LEVELS, Tails, activation_tails, weight_tails
from srquant.models.network import Network
from srquant.weight_rounding.choose import round_weights

MOMENTUM = 0.9
"""Weight of earlier batches in the moving average of activation bounds, as in ``mse``."""

OUTERMOST = None
"""The widest bounds of all batches instead of an average. A channel that is large in few pictures keeps its range; with
averages such a picture comes out far worse than others."""

NARROWING_CROPS, NARROWING_EPOCH = 8, 2**19
"""Crops by which ranges are narrowed, and the number of their epoch, which no learning comes to."""

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
    """The start with the smallest error of those of all plans.

    Args:
        network: the float network.
        calibration: for the ranges and the rounding.
        plans: of this network.
        held_out: lessons by which starts are compared.
    """
    with recorded(network, narrowing_crops(calibration)) as narrowing:
        starts = [Start(started(network, calibration, plan, held_out, narrowing), plan.policy) for plan in plans]
    return min(starts, key=lambda start: error(start.student, held_out))


def narrowing_crops(calibration: CalibrationSet) -> Iterator[Tensor]:
    """The batch by which ranges are narrowed, ``N x 3 x H x W`` in [0, 1]."""
    return islice(calibration.batches(NARROWING_CROPS, NARROWING_EPOCH), 1)


def started(
    network: Network,
    calibration: CalibrationSet,
    plan: QuantizationPlan,
    held_out: Iterable[Lesson],
    narrowing: Iterable[Lesson],
) -> Network:
    """A quantized copy with the best of the ranges that fit the bits, narrowed, and with weights rounded by GPTQ."""
    students = [insert_by_ranges(network, calibration, plan, ranges) for ranges in fitting_ranges(plan.policy.base)]
    student = min(students, key=lambda student: error(student, held_out))
    narrow_ranges(student, narrowing)
    if has_many_levels(plan.policy.base):
        settle_bounds(student)
    round_weights(student, network, calibration.batches(BATCH), "gptq")
    move_near_float(student, network)
    return student


def fitting_ranges(bits: LayerBits) -> list[Ranges]:
    """The ways to find ranges that are worth trying with so many bits."""
    by_error = Ranges(mse, symmetric_mse, MOMENTUM, minmax)
    if not has_many_levels(bits):
        return [by_error]
    return [by_error, Ranges(activation_tails(SHARE), weight_tails, OUTERMOST, minmax)]


def has_many_levels(bits: LayerBits) -> bool:
    """Whether the rounding of grids to a lattice costs more than learned bounds gain: at 7 and 8 bits."""
    levels: int = 2 ** max(bits.activation, bits.weight)
    return levels > MANY_LEVELS
