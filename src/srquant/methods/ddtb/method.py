"""DDTB (Zhong et al., ECCV 2022): dynamic dual trainable bounds.

1. Activations: two trainable bounds ``alpha_l`` and ``alpha_u`` per tensor and an integer zero point; at first the
   bounds are percentiles of the first batch. A residual block has three quantizers: of its input, whose points the
   skip connection passes as well, of the output of its ReLU, and of its output before the sum.
2. Dynamic gates at those activations whose smallest and largest values vary most from picture to picture: mean of each
   channel -> 2-bit layer -> batch norm -> ReLU -> 2-bit layer -> ``beta_u`` and ``beta_l``, by which the bounds are
   multiplied (section 3.2). In the first 5 of 60 epochs gates are only regularised towards ``beta = 1``.
3. Weights: bounds at the 1st and 99th percentile with an integer zero point, computed again after each step.
4. Loss: L1 between the network's pictures and the true ones + 1000 * difference of the attention maps before the tail
   from those of the float network.

======================  ====================================================================
in the paper            here
======================  ====================================================================
alpha_l, alpha_u        ``lower`` and ``upper`` of both quantizers in ``gate``
beta_l, beta_u          the same in ``GatedQuantizer.bounds``
dynamic gate            ``gate.DynamicGate``
M, 100 - M percentiles  ``share``: M = 100 (1 - share)
dynamic ratio           ``dynamic_ratio``
======================  ====================================================================
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from srquant.distillation.loop import NARROWEST, Rate
from srquant.distillation.losses import WHITE, output_loss
from srquant.errors import PolicyError
from srquant.grids.range_rules import Bounds, quantile, separate_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import SIDES, resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantize_addends import quantize_addends
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.refit_weight_grids import percentile_with_zero, refit_weight_grids
from srquant.insertion.replace_quantizers import replace_activation_quantizers
from srquant.methods.ddtb.gate import GatedQuantizer, TrainableBoundsQuantizer
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.settle_trained import (
    constant_bounds,
    deployable,
    learns_weights,
    require_float_sums,
    require_tensor_grids,
)
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network, modules_of
from srquant.quantizers.base import ActivationQuantizer, InputQuantizer
from srquant.quantizers.layers import activation_quantizers
from srquant.training.attention_teacher import AttentionTeacher
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

EPOCHS = 60

OPEN_FROM = 5
"""First epoch, counted from 0, in which gates change bounds."""

FIRST_BOUND = 10.0
"""Magnitude of both bounds before training, in the released code at more than 2 bits."""

WEIGHT_SHARE = 0.01
"""Of weights outside their bounds, on each side."""

SHARES = {"rdn": 0.05}
"""Of activations outside their first bounds, on each side, by architecture; 0.01 for others."""

RATIOS = {"edsr": 0.3, "srresnet": 0.1, "msrresnet": 0.1, "rdn": 0.5}
"""Of activations that get a gate, by architecture; 0.3 for others."""


@dataclass(frozen=True)
class DDTB:
    """Options of ``ddtb``."""

    learning_rate: float = option(1e-4, "of weights, biases and gates", "section 4.1")
    most_change: float | None = option(None, MOST_CHANGE, "ours; none: as published")
    bound_rate: float = option(1e-2, "of the bounds alpha_l and alpha_u", "released code")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "relative: bound_rate times each range, which networks in [0, 255] need", "released code; ours"
    )
    halve_every: int = option(10, f"in epochs; a run of any length is divided into {EPOCHS}", "section 4.1")
    ddtb_init: Literal["percentile", "code"] = option(
        "percentile", "first bounds; code: percentiles at 2 bits only, else -10 and 10", "section 3.2; released code"
    )
    share: float | None = option(
        None, "values outside the first bounds on each side; none: 0.01, RDN 0.05", "section 4.1"
    )
    gates: bool = option(
        True, "dynamic gates: bounds depend on the picture; only PyTorch runs such networks", "section 3.2"
    )
    dynamic_ratio: float | None = option(
        None, "share of activations with a gate; none: 0.3, SRResNet 0.1, RDN 0.5", "released configs"
    )
    attention_weight: float = option(1000.0, "of the loss of the attention maps before the tail", "released code")
    addends: bool = option(True, "quantize the addends of residual blocks too", "released code")


@dataclass(frozen=True)
class ActivationStatistics:
    """Statistics of an activation of the float network.

    Attributes:
        bounds: percentiles of the first batch, 0-d each.
        variation: variance over samples of the largest value, plus that of the smallest.
        channels: of feature maps, ``N x C x H x W``; None for tensors of other shapes.
    """

    bounds: Bounds
    variation: float
    channels: int | None


class DdtbStudent(Student):
    """A network with ``TrainableBoundsQuantizer`` and ``GatedQuantizer`` modules, and its teacher."""

    def __init__(self, network: Network, teacher: Network, policy: Policy, config: DDTB, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.teacher = AttentionTeacher(teacher)
        self.plan = Plan(steps, EPOCHS)
        static = modules_of(network, TrainableBoundsQuantizer).values()
        self.gated = list(modules_of(network, GatedQuantizer).values())
        self.grids: list[TrainableBoundsQuantizer | GatedQuantizer] = [*static, *self.gated]
        self.narrowest = [NARROWEST * float((q.upper - q.lower).detach()) for q in self.grids]
        self.opened: Tensor
        self.register_buffer("opened", torch.tensor(False))

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 in grey levels + weight * attention loss + regularisation of gates that aren't open yet."""
        if self.gated and len(low) == 1:
            raise PolicyError("ddtb: gates are normalised over the batch; use 2 crops per step or more, or gates=false")
        self.opened.fill_(self.plan.epoch(step) >= OPEN_FROM)
        self.open_gates()
        pictures, attention = self.teacher(self.network, low)
        loss: Tensor = WHITE * output_loss(pictures, high) + self.config.attention_weight * attention
        return loss + self.gate_regularisation()

    def open_gates(self) -> None:
        """Open or close all gates, as ``opened`` says."""
        for quantizer in self.gated:
            quantizer.open = bool(self.opened)

    def gate_regularisation(self) -> Tensor:
        """Mean square of the gates' outputs before the gates are opened, 0-d; 0 afterwards."""
        outputs = [quantizer.output for quantizer in self.gated]
        for quantizer in self.gated:
            quantizer.output = None
        squares = [output.square().mean() for output in outputs if output is not None]
        return torch.stack(squares).mean() if squares and not self.opened else torch.zeros(())

    def rates(self) -> Iterable[Rate]:
        """Rates of the network, of the gates, and of each quantizer's bounds."""
        yield from network_rates(self.network, self.config.learning_rate, self.config.most_change)
        yield Rate([p for quantizer in self.gated for p in quantizer.gate.parameters()], self.config.learning_rate)
        for quantizer in self.grids:
            scale = float((quantizer.upper - quantizer.lower).detach()) if self.config.rates == "relative" else 1.0
            yield Rate([quantizer.lower, quantizer.upper], self.config.bound_rate * scale)

    def rate_factor(self, step: int) -> float:
        """Halved after every ``halve_every`` epochs."""
        return self.plan.halved(step, self.config.halve_every)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Compute the bounds of weights again; keep ``alpha_u`` above ``alpha_l``."""
        refit_weight_grids(self.network, percentile_with_zero(WEIGHT_SHARE))
        for quantizer, narrowest in zip(self.grids, self.narrowest, strict=True):
            quantizer.upper.copy_(torch.maximum(quantizer.upper, quantizer.lower + narrowest))

    def result(self) -> QuantizedModel:
        """With static grids, except for quantizers with open gates."""
        self.open_gates()
        return deployable(self.network, self.policy, origin_of("ddtb", self.config))


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: DDTB, steps: int) -> DdtbStudent:
    """Bounds and the choice of gates come from the crops; arguments as ``trained_registry.Prepare``."""
    require_tensor_grids("ddtb", policy)
    require_float_sums("ddtb", policy)
    policy = replace(policy, symmetric_weights=False)
    plan = resolve(network, policy)
    first = constant_bounds(plan, torch.tensor(-FIRST_BOUND), torch.tensor(FIRST_BOUND))
    student = insert_quantizers(network, plan, first, percentile_with_zero(WEIGHT_SHARE))
    if config.addends:
        quantize_addends(student, plan)
    plain = activation_quantizers(student)
    statistics = activation_statistics(network, list(plain), crops, value_for(config.share, SHARES, 0.01, network))
    gated = most_variable(statistics, value_for(config.dynamic_ratio, RATIOS, 0.3, network) if config.gates else 0.0)
    made: dict[InputQuantizer, InputQuantizer] = {
        old: trainable(old, statistics[name], name in gated, config) for name, old in plain.items()
    }
    replace_activation_quantizers(student, made.__getitem__)
    learns_weights(student)
    for quantizer in made.values():
        quantizer.requires_grad_(True)
    return DdtbStudent(student, network, policy, config, steps)


def value_for(value: float | None, by_architecture: dict[str, float], other: float, network: Network) -> float:
    """An option's value; where it is None, the value that the paper uses for the architecture."""
    return by_architecture.get(network.facts.architecture, other) if value is None else value


def trainable(
    plain: ActivationQuantizer, statistics: ActivationStatistics, gated: bool, config: DDTB
) -> InputQuantizer:
    """The quantizer in training, with or without a gate."""
    constant = config.ddtb_init == "code" and plain.bits > 2
    lower, upper = (plain.lower, plain.upper) if constant else statistics.bounds
    if not gated or statistics.channels is None:
        return TrainableBoundsQuantizer(lower, upper, plain.bits)
    quantizer = GatedQuantizer(plain.bits, statistics.channels)
    quantizer.lower.data.copy_(lower)
    quantizer.upper.data.copy_(upper)
    return quantizer


def most_variable(statistics: dict[str, ActivationStatistics], ratio: float) -> set[str]:
    """Names of the feature maps that vary most, as many as ``ratio`` times the number of all activations."""
    names = [name for name, activation in statistics.items() if activation.channels is not None]
    ordered = sorted(names, key=lambda name: -statistics[name].variation)
    return set(ordered[: int(ratio * len(statistics))])


@torch.no_grad()
def activation_statistics(
    network: Network, names: Sequence[str], crops: Sequence[Tensor], share: float
) -> dict[str, ActivationStatistics]:
    """Statistics of activations of the float network, by name.

    Args:
        network: float.
        names: those of ``activation_quantizers``.
        crops: batches ``N x 3 x H x W``; the bounds are percentiles of the first.
        share: of values outside the bounds, on each side.
    """
    bounds: dict[str, Bounds] = {}
    ends: dict[str, list[Tensor]] = {name: [] for name in names}
    channels: dict[str, int | None] = {}
    places = {name: input_of(name) for name in names}

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[places[name][1]]
        if name not in bounds:
            row = x.reshape(1, -1)
            lower, upper = separate_bounds(quantile(row, share), quantile(row, 1 - share))
            bounds[name] = lower.reshape(()), upper.reshape(())
            channels[name] = x.shape[1] if x.dim() == 4 else None
        ends[name].append(torch.stack([x.flatten(1).amin(1), x.flatten(1).amax(1)]))

    with watch_inputs({name: network.module.get_submodule(module) for name, (module, _) in places.items()}, see):
        for batch in crops:
            network.eval()(batch)
    variation = {name: float(torch.cat(rows, 1).var(1, unbiased=False).sum()) for name, rows in ends.items()}
    return {name: ActivationStatistics(bounds[name], variation[name], channels[name]) for name in names}


def input_of(name: str) -> tuple[str, int]:
    """The module that reads an activation, and the index of the argument: sums and products have two arguments."""
    module, _, side = name.rpartition(".")
    return (module, SIDES.index(side)) if side in SIDES else (name, 0)
