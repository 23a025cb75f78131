"""MinMax (Jacob et al. 2018, as the AdaBM code runs it).

1. Float network on batches of 16 crops: smallest and largest value of each activation, moving average 0.9.
2. Weights: symmetric bounds at the largest magnitude, or with the smallest squared error as in ``mse``.
3. Optionally finetune the bounds.

==================  =====================================================
in the code         here
==================  =====================================================
minmax, EMA 0.9     ``grids.range_rules.minmax``, ``momentum``
quantizer_w minmax  ``weights=max``: ``grids.range_rules.symmetric_max``
quantizer_w omse    ``weights=omse``: ``grids.range_rules.symmetric_mse``
==================  =====================================================
"""

from dataclasses import dataclass
from typing import Literal

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import Progress
from srquant.grids.range_rules import minmax, symmetric_max, symmetric_mse
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import FINETUNE, MOMENTUM, Ranges, Recipe, origin_of, quantize_by_ranges
from srquant.models.network import Network


@dataclass(frozen=True)
class MinMax:
    """Options of ``minmax``."""

    finetune: Recipe = option("none", FINETUNE, "ours; published: AdaBM code")
    momentum: float = option(0.9, MOMENTUM, "AdaBM code", most=1)
    weights: Literal["max", "omse"] = option(
        "max",
        "bounds of weights: at the largest magnitude, or with the smallest squared error",
        "AdaBM code; omse is what AdaBM itself uses",
    )
    batch: int = option(16, "crops per batch of statistics; fewer give narrower ranges", "AdaBM code", least=1)


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: MinMax,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with min-max ranges; arguments as ``srquant.methods.Quantize``."""
    weight_rule = symmetric_max if config.weights == "max" else symmetric_mse
    ranges = Ranges(minmax, weight_rule, config.momentum, batch=config.batch)
    origin = origin_of("minmax", config, calibration)
    return quantize_by_ranges(network, calibration, policy, ranges, config.finetune, origin, progress)
