"""DDTB (Zhong et al., ECCV 2022): dynamic dual trainable bounds.

1. Activations: two learned bounds per tensor and an integer zero point, at first percentiles of the first batch. A
   residual block has three: of its input, which is what passes it as well, behind its ReLU, and of its output before
   the sum.
2. Gates at those activations whose smallest and largest values vary most from picture to picture: mean of each channel
   -> 2 bit layer -> norm -> ReLU -> 2 bit layer -> factors of the two bounds (section 3.2). In the first 5 of 60
   epochs they only learn to leave the bounds as they are.
3. Weights: the 1st and 99th percentile and an integer zero point, found anew in every step.
4. L1 against the true pictures + 1000 * attention of the float network before the tail.
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
from srquant.methods.ddtb.gate import DualBoundQuantizer, GatedQuantizer
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
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, InputQuantizer
from srquant.quantizers.layers import activation_quantizers
from srquant.training.attention_teacher import AttentionTeacher
from srquant.training.learning_rates import MOST_CHANGE, network_rates
from srquant.training.student import Plan, Student

EPOCHS = 60

OPEN_FROM = 5
"""Epoch from 0 in which gates begin to move bounds."""

FIRST_BOUND = 10.0
"""Both bounds before training, as the released code leaves them at more than 2 bits."""

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
    bound_rate: float = option(1e-2, "of the bounds", "released code")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "relative: bound_rate times each range, which networks in [0, 255] need", "released code; ours"
    )
    halve_every: int = option(10, f"epochs of {EPOCHS}; epochs are shares of the run", "section 4.1")
    ddtb_init: Literal["percentile", "code"] = option(
        "percentile", "first bounds; code: percentiles at 2 bits only, else -10 and 10", "section 3.2; released code"
    )
    share: float | None = option(None, "outside first bounds on each side; none: 0.01, RDN 0.05", "section 4.1")
    gates: bool = option(True, "bounds move with the picture; only PyTorch runs such networks", "section 3.2")
    dynamic_ratio: float | None = option(
        None, "of activations with a gate; none: 0.3, SRResNet 0.1, RDN 0.5", "released configs"
    )
    attention_weight: float = option(1000.0, "of the attention before the tail", "released code")
    addends: bool = option(True, "the addends of residual blocks are on grids too", "released code")


@dataclass(frozen=True)
class Seen:
    """What is known of an activation before training.

    Attributes:
        bounds: percentiles of the first batch, 0-d each.
        variation: variance over samples of the largest value, plus that of the smallest.
        channels: of maps, ``N x C x H x W``; None of anything else.
    """

    bounds: Bounds
    variation: float
    channels: int | None


class DdtbStudent(Student):
    """A network on ``DualBoundQuantizer`` and ``GatedQuantizer`` grids, and its teacher."""

    def __init__(self, network: Network, teacher: Network, policy: Policy, config: DDTB, steps: int) -> None:
        super().__init__(network)
        self.policy, self.config = policy, config
        self.teacher = AttentionTeacher(teacher)
        self.plan = Plan(steps, EPOCHS)
        self.grids = [q for q in network.modules() if isinstance(q, DualBoundQuantizer | GatedQuantizer)]
        self.gated = [q for q in self.grids if isinstance(q, GatedQuantizer)]
        self.narrowest = [NARROWEST * float((q.upper - q.lower).detach()) for q in self.grids]
        self.opened: Tensor
        self.register_buffer("opened", torch.tensor(False))

    def forward(self, low: Tensor, high: Tensor, step: int) -> Tensor:
        """L1 in grey levels + weight * attention loss, and what keeps closed gates near zero."""
        if self.gated and len(low) == 1:
            raise PolicyError("ddtb: gates are normalised over the batch; use 2 crops per step or more, or gates=false")
        self.opened.fill_(self.plan.epoch(step) >= OPEN_FROM)
        self.open_gates()
        pictures, attention = self.teacher(self.network, low)
        loss: Tensor = WHITE * output_loss(pictures, high) + self.config.attention_weight * attention
        return loss + self.unrest()

    def open_gates(self) -> None:
        """Let the gates count or not, as ``opened`` says."""
        for quantizer in self.gated:
            quantizer.open = bool(self.opened)

    def unrest(self) -> Tensor:
        """Mean square of what the gates gave, while they are to give nothing; 0-d."""
        outputs = [quantizer.output for quantizer in self.gated]
        for quantizer in self.gated:
            quantizer.output = None
        given = [output.square().mean() for output in outputs if output is not None]
        return torch.stack(given).mean() if given and not self.opened else torch.zeros(())

    def rates(self) -> Iterable[Rate]:
        """Rates of the network, of the gates, and of each quantizer's bounds."""
        yield from network_rates(self.network, self.config.learning_rate, self.config.most_change)
        yield Rate([p for quantizer in self.gated for p in quantizer.gate.parameters()], self.config.learning_rate)
        for quantizer in self.grids:
            scale = float((quantizer.upper - quantizer.lower).detach()) if self.config.rates == "relative" else 1.0
            yield Rate([quantizer.lower, quantizer.upper], self.config.bound_rate * scale)

    def rate_factor(self, step: int) -> float:
        """Halved as the config says."""
        return self.plan.halved(step, self.config.halve_every)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Weight grids follow; bounds stay apart."""
        refit_weight_grids(self.network, percentile_with_zero(WEIGHT_SHARE))
        for quantizer, narrowest in zip(self.grids, self.narrowest, strict=True):
            quantizer.upper.copy_(torch.maximum(quantizer.upper, quantizer.lower + narrowest))

    def result(self) -> QuantizedModel:
        """On static grids, but for gates that are open."""
        self.open_gates()
        return deployable(self.network, self.policy, origin_of("ddtb", self.config))


def prepare(network: Network, crops: Sequence[Tensor], policy: Policy, config: DDTB, steps: int) -> DdtbStudent:
    """Bounds and places of gates from the crops; arguments as ``trained_registry.Prepare``."""
    require_tensor_grids("ddtb", policy)
    require_float_sums("ddtb", policy)
    policy = replace(policy, symmetric_weights=False)
    plan = resolve(network, policy)
    first = constant_bounds(plan, torch.tensor(-FIRST_BOUND), torch.tensor(FIRST_BOUND))
    student = insert_quantizers(network, plan, first, percentile_with_zero(WEIGHT_SHARE))
    if config.addends:
        quantize_addends(student, plan)
    plain = activation_quantizers(student)
    seen = watch(network, list(plain), crops, chosen(config.share, SHARES, 0.01, network))
    gated = most_variable(seen, chosen(config.dynamic_ratio, RATIOS, 0.3, network) if config.gates else 0.0)
    made: dict[InputQuantizer, InputQuantizer] = {
        old: learned(old, seen[name], name in gated, config) for name, old in plain.items()
    }
    replace_activation_quantizers(student, made.__getitem__)
    learns_weights(student)
    for quantizer in made.values():
        quantizer.requires_grad_(True)
    return DdtbStudent(student, network, policy, config, steps)


def chosen(value: float | None, by_architecture: dict[str, float], other: float, network: Network) -> float:
    """An option's value, or what papers use for the architecture."""
    return by_architecture.get(network.facts.architecture, other) if value is None else value


def learned(plain: ActivationQuantizer, seen: Seen, gated: bool, config: DDTB) -> InputQuantizer:
    """The quantizer in training."""
    constant = config.ddtb_init == "code" and plain.bits > 2
    lower, upper = (plain.lower, plain.upper) if constant else seen.bounds
    if not gated or seen.channels is None:
        return DualBoundQuantizer(lower, upper, plain.bits)
    quantizer = GatedQuantizer(plain.bits, seen.channels)
    quantizer.lower.data.copy_(lower)
    quantizer.upper.data.copy_(upper)
    return quantizer


def most_variable(seen: dict[str, Seen], ratio: float) -> set[str]:
    """Names of the maps that vary most, a share of all activations."""
    names = [name for name, activation in seen.items() if activation.channels is not None]
    ordered = sorted(names, key=lambda name: -seen[name].variation)
    return set(ordered[: int(ratio * len(seen))])


@torch.no_grad()
def watch(network: Network, names: Sequence[str], crops: Sequence[Tensor], share: float) -> dict[str, Seen]:
    """Look at activations of the float network.

    Args:
        network: float.
        names: as ``activation_quantizers`` gives them.
        crops: batches ``N x 3 x H x W``; bounds are of the first.
        share: of values outside the bounds, on each side.
    """
    bounds: dict[str, Bounds] = {}
    ends: dict[str, list[Tensor]] = {name: [] for name in names}
    channels: dict[str, int | None] = {}
    places = {name: place(name) for name in names}

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
    return {name: Seen(bounds[name], variation[name], channels[name]) for name in names}


def place(name: str) -> tuple[str, int]:
    """The module that an activation enters, and which of its arguments it is: sums and products have two."""
    module, _, side = name.rpartition(".")
    return (module, SIDES.index(side)) if side in SIDES else (name, 0)
