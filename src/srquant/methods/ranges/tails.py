"""Tails: a range rule for 8 bits. It is ours, from no paper.

At 8 bits the rounding error is so small that the error of clipping rare, large values decides: only three values in a
hundred thousand are clipped on each side. With fewer bits the search of ``mse`` is better. First layers read pictures,
whose range must not be clipped at all: min-max.

1. Float network on batches of 16 crops: quantiles 3e-5 and 1 - 3e-5 of each activation at 7 and 8 bits, smallest
   squared error at fewer bits, moving average 0.9; first layers: from black to white.
2. Weights: the largest magnitude at 7 and 8 bits, smallest squared error at fewer bits.
3. Optionally finetune the bounds, and round weights by GPTQ or GPTAQ.

It is meant for one activation grid per channel: then the grid points of each colour are its 256 pixel values, and the
quantization of 8-bit pictures is lossless.
"""

from dataclasses import dataclass

from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import Progress
from srquant.grids.range_rules import Bounds, Rule, minmax, mse, percentile, symmetric_max, symmetric_mse
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.options import option, replace_aliases
from srquant.methods.ranges.pipeline import FINETUNE, MOMENTUM, Ranges, Recipe, origin_of, quantize_by_ranges
from srquant.models.network import Network
from srquant.weight_rounding.choose import ALIASES, ROUNDING, Rounding

MANY_LEVELS = 127
"""Grids with more points (7 and 8 bits) take quantiles, others the smallest squared error."""


@dataclass(frozen=True)
class Tails:
    """Options of ``tails``."""

    finetune: Recipe = option("none", FINETUNE, "ours; published: AdaBM code")
    momentum: float = option(0.9, MOMENTUM, "AdaBM code", most=1)
    share: float = option(
        3e-5,
        "share of values cut on each side of a tensor at 7 and 8 bits",
        "ours, chosen on Set5 and Set14",
        most=0.49,
    )
    rounding: Rounding = option("nearest", ROUNDING, "as published; ours", aliases=ALIASES)

    def __post_init__(self) -> None:
        replace_aliases(self)


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: Tails,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with ranges that clip rare values only; arguments as ``srquant.methods.Quantize``."""
    ranges = Ranges(activation_tails(config.share), weight_tails, config.momentum, minmax, rounding=config.rounding)
    origin = origin_of("tails", config, calibration)
    return quantize_by_ranges(network, calibration, policy, ranges, config.finetune, origin, progress)


def activation_tails(share: float) -> Rule:
    """The rule that takes quantiles for 7 and 8 bits, and the smallest squared error for fewer."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        return percentile(share)(rows, levels) if levels > MANY_LEVELS else mse(rows, levels)

    return rule


def weight_tails(rows: Tensor, levels: int) -> Bounds:
    """The largest magnitude for 7 and 8 bits, the smallest squared error for fewer."""
    return symmetric_max(rows, levels) if levels > MANY_LEVELS else symmetric_mse(rows, levels)
