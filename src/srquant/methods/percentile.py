"""Percentile (FQN, Li et al. 2019, as the AdaBM code runs it).

1. Float network on batches of 16 crops: 1 % and 99 % quantile of each activation, moving average 0.9.
2. Weights: the 99 % quantile of the signed weights to both sides.
3. Optionally finetune the bounds.

The same quantiles clip the colours of the picture itself in the 8-bit first layer, which is why the method is far
below the others on super-resolution; it is kept as published.
"""

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.methods.pipeline import origin_of, quantize_by_ranges
from srquant.models.network import Network
from srquant.quant.model import QuantizedModel
from srquant.quant.policy import Policy
from srquant.quant.ranges import Bounds, percentile, quantile
from srquant.training.finetune import Finetune, Progress

SHARE = 0.01
MOMENTUM = 0.9


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    finetune: Finetune | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with percentile ranges; arguments as ``srquant.methods.Quantize``."""
    origin = origin_of("percentile", calibration, finetune, {"momentum": MOMENTUM, "share": SHARE})
    return quantize_by_ranges(
        network, calibration, policy, percentile(SHARE), weight_percentile, MOMENTUM, finetune, origin, progress
    )


def weight_percentile(rows: Tensor, levels: int) -> Bounds:
    """The upper quantile of the signed values to both sides; their largest magnitude where it is not positive."""
    upper = quantile(rows, 1 - SHARE)
    upper = torch.where(upper > 0, upper, rows.abs().amax(1))
    return -upper, upper
