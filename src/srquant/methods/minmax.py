"""MinMax (Jacob et al. 2018, as the AdaBM code runs it).

1. Float network on batches of 16 crops: smallest and largest value of each activation, moving average 0.9.
2. Weights: largest magnitude to both sides.
3. Optionally finetune the bounds.
"""

from srquant.data.calibration import CalibrationSet
from srquant.methods.pipeline import origin_of, quantize_by_ranges
from srquant.models.network import Network
from srquant.quant.model import QuantizedModel
from srquant.quant.policy import Policy
from srquant.quant.ranges import minmax, symmetric_max
from srquant.training.finetune import Finetune, Progress

MOMENTUM = 0.9


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    finetune: Finetune | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with min-max ranges; arguments as ``srquant.methods.Quantize``."""
    origin = origin_of("minmax", calibration, finetune, {"momentum": MOMENTUM})
    return quantize_by_ranges(network, calibration, policy, minmax, symmetric_max, MOMENTUM, finetune, origin, progress)
