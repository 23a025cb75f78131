"""Tails: the range rule for 8 bits, ours.

At 8 bits rounding is so fine that the rare largest values decide: clip three values in a hundred thousand on each side.
Few bits need the search of ``mse`` instead. First layers see pictures, whose range must not be clipped at all: min-max.

1. Float network on batches of 16 crops: quantiles 3e-5 and 1 - 3e-5 of each activation at 7 and 8 bits, smallest
   squared error below, moving average 0.9; first layers: from black to white.
2. Weights: the largest magnitude at 7 and 8 bits, smallest squared error below.
3. Optionally finetune the bounds.

Meant for one activation grid per channel, which makes 8-bit pictures lossless input: each colour's grid is its pixels.
"""

from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.methods.pipeline import origin_of, quantize_by_ranges
from srquant.models.network import Network
from srquant.quant.model import QuantizedModel
from srquant.quant.policy import Policy
from srquant.quant.ranges import Bounds, minmax, mse, percentile, symmetric_max, symmetric_mse
from srquant.training.finetune import Finetune, Progress

SHARE = 3e-5
MOMENTUM = 0.9
MANY_LEVELS = 127
"""Grids with more points are judged by their tails."""


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    finetune: Finetune | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with ranges that clip rare values only; arguments as ``srquant.methods.Quantize``."""
    origin = origin_of("tails", calibration, finetune, {"momentum": MOMENTUM, "share": SHARE})
    return quantize_by_ranges(
        network, calibration, policy, activation_tails, weight_tails, MOMENTUM, finetune, origin, progress, minmax
    )


def activation_tails(rows: Tensor, levels: int) -> Bounds:
    """Quantiles for many levels, smallest squared error for few."""
    return percentile(SHARE)(rows, levels) if levels > MANY_LEVELS else mse(rows, levels)


def weight_tails(rows: Tensor, levels: int) -> Bounds:
    """Largest magnitude for many levels, smallest squared error for few."""
    return symmetric_max(rows, levels) if levels > MANY_LEVELS else symmetric_mse(rows, levels)
