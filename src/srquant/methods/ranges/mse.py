"""MSE, also called OMSE (Choukroun et al. 2019, the single scale search that super-resolution papers use).

1. Float network on batches of 16 crops: min-max of each activation times that factor of 1.00, 0.99 .. 0.01 which gives
   the smallest squared error at the bits of the layer; moving average 0.9.
2. Weights: the largest magnitude times the factor found in the same way.
3. Optionally finetune the bounds, and round weights by GPTQ or GPTAQ.

====================  ===================================
in the paper          here
====================  ===================================
``||x - Q(x)||_2^2``  ``grids.range_rules.squared_error``
clip of activations   ``grids.range_rules.mse``
clip of weights       ``grids.range_rules.symmetric_mse``
====================  ===================================
"""

from dataclasses import dataclass

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import Progress
from srquant.grids.range_rules import mse, symmetric_mse
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.options import option, replace_aliases
from srquant.methods.ranges.pipeline import FINETUNE, MOMENTUM, Ranges, Recipe, origin_of, quantize_by_ranges
from srquant.models.network import Network
from srquant.weight_rounding.choose import ALIASES, ROUNDING, Rounding


@dataclass(frozen=True)
class MSE:
    """Options of ``mse``."""

    finetune: Recipe = option("none", FINETUNE, "ours; published: AdaBM code")
    momentum: float = option(0.9, MOMENTUM, "AdaBM code", most=1)
    rounding: Rounding = option("nearest", ROUNDING, "as published; ours", aliases=ALIASES)

    def __post_init__(self) -> None:
        replace_aliases(self)


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: MSE,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with ranges of smallest squared error; arguments as ``srquant.methods.Quantize``."""
    ranges = Ranges(mse, symmetric_mse, config.momentum, rounding=config.rounding)
    origin = origin_of("mse", config, calibration)
    return quantize_by_ranges(network, calibration, policy, ranges, config.finetune, origin, progress)
