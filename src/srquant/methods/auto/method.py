"""Auto: what is best for the bits and the time allowed, by error on calibration crops. Ours.

1. Start: as ``distill``; of the ranges that fit the bits, and of grids per tensor and per channel, those with the
   smallest error on held-out crops. At 7 and 8 bits layers that cause much of the error stay float.
2. Learning, as ``distill``, for as long as the effort says; at 7 and 8 bits, where little can be gained, as
   ``quick``, and bounds stay, since the lattice that they settle on costs more than they gain.
3. The start or the iterate with the smallest error on held-out crops is the result.
"""

from dataclasses import dataclass, replace
from typing import get_args

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import Progress
from srquant.insertion.policy import Granularity, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.distill import method as distill
from srquant.methods.distill.effort import EFFORT, Effort
from srquant.methods.options import option
from srquant.models.network import Network
from srquant.training.run_folder import RunFolder

MANY_BITS = 7
"""With so many bits or more, learning is short."""


@dataclass(frozen=True)
class Auto:
    """Options of ``auto``."""

    effort: Effort = option("normal", EFFORT, "ours")
    compare_grids: bool = option(True, "try grids per tensor and per channel; no: as the policy says", "ours")
    keep_sensitive: bool = option(
        True, "at 7 and 8 bits keep layers float that cause much of the error and few of the multiplications", "ours"
    )

    def learning(self, policy: Policy) -> distill.Distill:
        """The options of ``distill`` for the bits of a policy."""
        many = min(policy.base.weight, policy.base.activation) >= MANY_BITS
        if not many:
            return distill.Distill(self.effort)
        return distill.Distill("quick", bound_rate=0.0, keep_sensitive=self.keep_sensitive)

    def policies(self, policy: Policy) -> list[Policy]:
        """The policies that are tried."""
        if not self.compare_grids:
            return [policy]
        kinds = get_args(Granularity)
        return [replace(policy, granularity=kind, activation_granularity=kind) for kind in kinds]


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: Auto,
    progress: Progress | None = None,
    folder: RunFolder | None = None,
) -> QuantizedModel:
    """Quantize as well as bits and time allow; arguments as ``srquant.methods.distill.method.quantize_by_best``."""
    policies, learning = config.policies(policy), config.learning(policy)
    return distill.quantize_by_best(network, calibration, policies, learning, progress, folder)
