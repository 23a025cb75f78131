"""Percentile (FQN, Li et al. 2019, as the AdaBM code runs it).

1. Float network on batches of 16 crops: 1 % and 99 % quantile of each activation, moving average 0.9.
2. Weights: symmetric bounds at the 99 % quantile of the signed weights.
3. Optionally finetune the bounds.

The same quantiles clip the colours of the picture itself in the 8-bit first layer. Therefore the method is far worse
than the others on super-resolution; it is kept as published, and ``skip_8bit`` is the version without that clipping.

=====================  ===========================================
in the paper or code   here
=====================  ===========================================
1 % and 99 % quantile  ``share``, ``grids.range_rules.percentile``
quantile of weights    ``weight_percentile``
EMA 0.9                ``momentum``
=====================  ===========================================
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import Progress
from srquant.grids.range_rules import Bounds, Rule, minmax, percentile, quantile, symmetric_max
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import FINETUNE, MOMENTUM, Ranges, Recipe, origin_of, quantize_by_ranges
from srquant.models.network import Network
from srquant.quantizers.integer_weight import weight_levels


@dataclass(frozen=True)
class Percentile:
    """Options of ``percentile``."""

    finetune: Recipe = option("none", FINETUNE, "ours; published: AdaBM code")
    momentum: float = option(0.9, MOMENTUM, "AdaBM code", most=1)
    share: float = option(
        0.01, "share of values cut on each side of every tensor, colours of the picture included", "FQN", most=0.49
    )
    skip_8bit: bool = option(False, "min-max instead at 8 bits, so that colours of the picture aren't cut", "ours")


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: Percentile,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with percentile ranges; arguments as ``srquant.methods.Quantize``."""
    activation, weight = percentile(config.share), weight_percentile(config.share)
    if config.skip_8bit:
        activation, weight = below_8_bits(activation, minmax), below_8_bits(weight, symmetric_max)
    ranges = Ranges(activation, weight, config.momentum)
    origin = origin_of("percentile", config, calibration)
    return quantize_by_ranges(network, calibration, policy, ranges, config.finetune, origin, progress)


def below_8_bits(rule: Rule, at_8_bits: Rule) -> Rule:
    """``at_8_bits`` for 255 levels (weights) or 256 (activations), ``rule`` for fewer."""
    return lambda rows, levels: (at_8_bits if levels >= weight_levels(8) else rule)(rows, levels)


def weight_percentile(share: float) -> Rule:
    """The rule of symmetric bounds at the upper quantile of the signed values.

    Where that isn't positive, the bounds are at the largest magnitude.
    """

    def rule(rows: Tensor, levels: int) -> Bounds:
        upper = quantile(rows, 1 - share)
        upper = torch.where(upper > 0, upper, rows.abs().amax(1))
        return -upper, upper

    return rule
