"""Distill: weights, biases and bounds learn together to give the float network's pictures. Ours, from no paper.

1. Start: ranges of smallest squared error as ``mse``, those of the picture itself without clipping, at 7 and 8 bits
   those of ``tails`` if they are better on held-out crops. Ranges are halved where that brings the picture nearer to
   the float network's. Weights are rounded by GPTQ, then moved as near to the float weights as they can be while they
   are rounded to the same points.
   With ``keep_sensitive`` the few layers that cause much of the error stay float. At 7 and 8 bits bounds settle before
   weights are rounded.
2. Learning: everything learns at once, with straight-through gradients; the loss is the mean absolute difference from
   the float network's pictures. Adam; rates are in units of each tensor's size and follow half a cosine. They are
   halved, and the best iterate comes back, wherever the error on held-out crops has become 1.5 times its own.
3. The iterate with the smallest error on held-out crops of the calibration pictures is kept, and settled.

Grids have exactly ``2**bits`` points, ranges are static, and no true picture is needed.

==================================  ==========================================
step                                here
==================================  ==========================================
start                               ``start.best_start``, ``narrow.narrow_ranges``, ``near_float.move_near_float``
sensitive layers                    ``sensitive.keep_sensitive``
rates in units of size              ``rates.own_size_rates``
loop, held-out error                ``learn.learn``
steps and crops of an effort        ``effort.EFFORTS``
continuing a stopped run, curve     ``saved.Saved``
==================================  ==========================================
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice

from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import recorded
from srquant.distillation.recipes import Progress, distillation
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.distill.effort import EFFORT, EFFORTS, Amount, Effort, estimated_seconds
from srquant.methods.distill.held_out import DISTANCE
from srquant.methods.distill.learn import learn
from srquant.methods.distill.rates import own_size_rates
from srquant.methods.distill.saved import Saved
from srquant.methods.distill.sensitive import keep_sensitive, keeping
from srquant.methods.distill.start import Start, best_start
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.settle_trained import deployable
from srquant.models.network import Network
from srquant.training.run_folder import RunFolder

HELD_OUT_BATCHES, HELD_OUT_BATCH = 2, 12
"""Batches of held-out crops, and crops per batch."""

HELD_OUT_EPOCH = 2**20
"""Number of the epoch that held-out crops come from; no run is so long that it learns from them."""

SENSITIVE_CROPS, SENSITIVE_EPOCH = 12, 2**20 + 1
"""Crops by which sensitive layers are found, and the number of their epoch."""

FEW_BITS_RATE, MANY_BITS_RATE, MANY_BITS = 0.006, 0.003, 4
"""Learning rates of weights below ``MANY_BITS`` bits, and from there on: a start that is good already needs less."""


@dataclass(frozen=True)
class Distill:
    """Options of ``distill``."""

    effort: Effort = option("normal", EFFORT, "ours")
    steps: int | None = option(None, "steps of learning; none: as the effort says", "ours", least=1)
    batch: int | None = option(None, "crops per step; none: as the effort says", "ours", least=1)
    learning_rate: float | None = option(
        None,
        f"Adam's for weights and biases, times the size of each tensor; none: {FEW_BITS_RATE} below {MANY_BITS} bits, "
        f"else {MANY_BITS_RATE}",
        "ours",
    )
    bound_rate: float = option(0.001, "Adam's for bounds, times each range", "ours")
    feature_weight: float = option(0.0, "factor of the loss of normalised features; 0: pictures only", "ours")
    keep_sensitive: bool = option(
        False, "keep layers float that cause much of the error and few of the multiplications", "ours"
    )
    different: float = option(0.5, "share of the steps that have crops of their own; later steps repeat them", "ours")

    def amount(self) -> Amount:
        """Steps and batch."""
        effort = EFFORTS[self.effort]
        return Amount(self.steps or effort.steps, self.batch or effort.batch)

    def weight_rate(self, policy: Policy) -> float:
        """Learning rate of weights and biases, times the size of each tensor."""
        if self.learning_rate is not None:
            return self.learning_rate
        return FEW_BITS_RATE if min(policy.base.weight, policy.base.activation) < MANY_BITS else MANY_BITS_RATE

    def learning(self, policy: Policy) -> "Distill":
        """The options that learning uses: these, whatever the bits."""
        return self

    def policies(self, policy: Policy) -> list[Policy]:
        """The policies that are tried: this one."""
        return [policy]

    def seconds(self, network: Network, patch: int, starts: int) -> float:
        """Estimated time for a float network, crops of ``patch`` pixels a side and so many starts."""
        return estimated_seconds(network, self.amount(), patch, self.different, starts)


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: Distill,
    progress: Progress | None = None,
    folder: RunFolder | None = None,
) -> QuantizedModel:
    """Quantize by learning weights, biases and bounds; arguments and errors as ``quantize_by_best``."""
    return quantize_by_best(network, calibration, [policy], config, progress, folder)


def quantize_by_best(
    network: Network,
    calibration: CalibrationSet,
    policies: Sequence[Policy],
    config: Distill,
    progress: Progress | None = None,
    folder: RunFolder | None = None,
) -> QuantizedModel:
    """Quantize by learning, from the start that is the best of several policies.

    Args:
        network: float; left unchanged.
        calibration: low-resolution crops, no ground truth.
        policies: which layers are quantized, and with how many bits; they differ only in the granularity of grids.
        config: the method's options.
        progress: called after every step of learning.
        folder: an existing folder that keeps the curve and the state to continue from.

    Raises:
        PolicyError: as ``Quantize``; or the loss isn't finite.
        CheckpointError: the saved state is damaged.
    """
    amount, teacher = config.amount(), network if config.feature_weight else without_features(network)
    plan, saved = resolve(network, policies[0]), Saved(folder)
    plans = [replace(plan, policy=policy) for policy in policies]
    with ExitStack() as stack:
        held_out = stack.enter_context(recorded(without_features(network), held_out_crops(calibration)))
        start = best_start(teacher, calibration, plans, held_out)
        policy = keep_float(start, teacher, calibration) if config.keep_sensitive else start.policy
        lessons = stack.enter_context(recorded(teacher, crops(calibration, amount, config.different)))
        rates = own_size_rates(start.student, config.weight_rate(policy), config.bound_rate)
        loss = distillation(config.feature_weight, DISTANCE)
        learn(start.student, rates, lessons, held_out, loss, amount.steps, saved, reporter(progress, amount.steps))
    origin = origin_of("distill", config, calibration)
    return deployable(Network(start.student.module, network.facts), policy, origin)


def keep_float(start: Start, network: Network, calibration: CalibrationSet) -> Policy:
    """Make the sensitive layers of a start float, in place; returns the policy that keeps them so."""
    crops = islice(calibration.batches(SENSITIVE_CROPS, SENSITIVE_EPOCH), 1)
    with recorded(without_features(network), crops) as lessons:
        return keeping(start.policy, keep_sensitive(start.student, network, lessons))


def crops(calibration: CalibrationSet, amount: Amount, different: float) -> Iterator[Tensor]:
    """The batches that are learned from: ``N x 3 x H x W`` in [0, 1], as many as the share of the steps says."""
    count = max(1, math.ceil(amount.steps * different))
    epochs = math.ceil(count * amount.batch / calibration.count)
    return islice(calibration.stream(amount.batch, epochs), count)


def held_out_crops(calibration: CalibrationSet) -> Iterator[Tensor]:
    """Batches that are not learned from, of the same pictures."""
    return islice(calibration.batches(HELD_OUT_BATCH, HELD_OUT_EPOCH), HELD_OUT_BATCHES)


def without_features(network: Network) -> Network:
    """The same module, with facts that name no features, so that none are recorded."""
    return Network(network.module, replace(network.facts, features=()))


def reporter(progress: Progress | None, total: int) -> Callable[[int], None]:
    """A function that tells ``progress`` how many of ``total`` steps are done."""

    def report(done: int) -> None:
        if progress is not None:
            progress("learning", done, total)

    return report
