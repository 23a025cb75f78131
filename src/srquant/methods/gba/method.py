"""GBA, gradient-guided bit allocation ("Gradient Knows Best", CVPR 2026). No official code is known.

1. Bounds. Activations: min-max of batches of 16 crops, moving average 0.9; with DAN, which brings every channel of
   every sample to [-1, 1], that is -1 and 1 exactly. Weights: smallest squared error (OMSE), two bounds.
2. Bits (GBA). 2 passes over batches of 2 at base bits: mean gradient, in each layer's bits, of L1 in grey levels
   + 10 * feature loss. Ranked by signed gradient, a quarter of the layers gives a bit, a quarter gets one (Eq. 4 to 7).
   First the activations' bits, then, if asked for, the weights' with the activations' already set.
3. Bounds again, bits fixed: 2 passes of Adam at 0.01 with the same loss.

The supplement's own sign argument decides where readings differ: gradients are ranked with their sign, not by size.
Bit offsets are probed at zero and not learned, as their ranks overwrite them anyway; ``mode=adam`` learns them first.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal

import torch

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lessons, recorded
from srquant.distillation.loop import Guards, Loss, Quantizer, adam, bound_rates, decay, train_pass
from srquant.distillation.losses import WHITE
from srquant.distillation.recipes import Group, Progress, counter, distillation
from srquant.errors import PolicyError
from srquant.grids.range_rules import minmax, mse, symmetric_mse
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.insertion.collect_ranges import ActivationBounds, Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.gba.allocation import allocate_bits
from srquant.methods.gba.bit_offsets import MeanGradients, learnable_bits
from srquant.methods.options import option, replace_aliases
from srquant.methods.ranges.pipeline import BATCH, MOMENTUM, origin_of
from srquant.models.network import Network
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import QuantLinear, activation_quantizers, bounded_quantizer, quant_layers
from srquant.weight_rounding.choose import ALIASES, ROUNDING, Rounding, round_weights

STAGES = (1, 2, 3)
MIXED: dict[str, tuple[Group, ...]] = {
    "none": (),
    "weights": ("weights",),
    "activations": ("activations",),
    "both": ("activations", "weights"),
}
TURNS: dict[str, tuple[tuple[Group, ...], ...]] = {
    "together": (("activations", "weights"),),
    "alternate": (("weights",), ("activations",)),
}


@dataclass(frozen=True)
class GBA:
    """Options of ``gba``; the rows of its Table 4 are combinations of ``mixed`` and ``dan_stages``."""

    mixed: Literal["none", "weights", "activations", "both"] = option(
        "activations", "whose bits differ from layer to layer; 'Ours' and, for both, 'Ours*'", "paper, tables"
    )
    largest: int = option(1, "bits that a layer can get or give: candidate sets {-m..m}", "supplement, table 8")
    mode: Literal["probe", "adam"] = option(
        "probe", "keep offsets at zero while gradients are collected, or learn them meanwhile", "ours; paper silent"
    )
    allocation_rate: float = option(0.1, "of Adam on bit offsets (mode adam)", "supplement, A")
    dan_stages: tuple[int, ...] | None = option(
        STAGES, "stages that see activations normalised (DAN); without 3 or with none, ranges are static", "ours"
    )
    finetune: bool = option(True, "run stage 3", "paper")
    schedule: Literal["together", "alternate"] = option(
        "together", "bounds of activations and weights in every step, or weights and activations in turn", "ours"
    )
    learning_rate: float = option(0.01, "of Adam on bounds", "supplement, A")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "rates of bounds as they are, or times the range of each quantizer", "paper; relative is ours"
    )
    decay: float = option(0.9, "factor on that rate from pass to pass", "AdaBM code, the paper is silent")
    epochs: int = option(2, "passes over the crops in each stage of gradients", "supplement, A")
    batch: int = option(2, "crops per step", "supplement, A")
    feature_weight: float = option(10.0, "of the feature loss beside L1 in grey levels", "supplement, table 9")
    momentum: float = option(0.9, MOMENTUM, "supplement, A", most=1)
    ranges: Literal["minmax", "mse"] = option(
        "minmax", "first bounds of static activations: smallest and largest, or smallest squared error", "paper; ours"
    )
    rounding: Rounding = option("nearest", ROUNDING, "paper; ours", aliases=ALIASES)

    def __post_init__(self) -> None:
        replace_aliases(self)
        if set(self.dan_stages or ()) - set(STAGES):
            raise PolicyError(f"dan_stages is {self.dan_stages}: use some of 1,2,3, or none")
        for name in ("largest", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise PolicyError(f"{name} is {getattr(self, name)}: use at least 1")


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: GBA,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with allocated bits and learned bounds; arguments as ``srquant.methods.Quantize``.

    The policy that comes back has one override per layer whose bits were allocated; the head, the tail and layers
    with overrides of their own keep their bits.
    """
    if config.dan_stages and policy.activation_granularity == "channel":
        raise PolicyError("DAN gives every channel a range already: use one activation grid per tensor, or no DAN")
    policy = replace(policy, symmetric_weights=False)
    check_offsets(policy, config)
    plan = resolve(network, policy)
    body, dan = _body(plan, config), config.dan_stages or ()
    bounds = first_bounds(network, calibration, plan, config)
    batches = chain.from_iterable(calibration.batches(config.batch, epoch) for epoch in range(config.epochs))
    with recorded(network, batches) as lessons:
        for group in MIXED[config.mixed]:
            student = _student(network, plan, bounds, 2 in dan)
            report = counter(progress, f"bits of {group}", len(lessons))
            gradients = bit_gradients(student, _quantizers(student, group, body), lessons, config, report)
            offsets = allocate_bits(gradients, config.largest)
            plan = plan.with_bits(_changed_bits(plan, dict(zip(body, offsets, strict=True)), group))
            bounds = first_bounds(network, calibration, plan, config) if config.ranges == "mse" else bounds
        student = _student(network, plan, bounds, 3 in dan)
        if config.finetune:
            learn_bounds(student, lessons, config, progress)
    round_weights(student, network, calibration.batches(BATCH), config.rounding)
    settle(student)
    return QuantizedModel(student, plan.policy, origin_of("gba", config, calibration))


def check_offsets(policy: Policy, config: GBA) -> None:
    """Raise a ``PolicyError`` where base bits plus offsets could leave 2..8."""
    for group in MIXED[config.mixed]:
        base = policy.base.activation if group == "activations" else policy.base.weight
        if not FEWEST_BITS <= base - config.largest <= base + config.largest <= MOST_BITS:
            raise PolicyError(
                f"{base}-bit {group} with offsets of up to {config.largest} would have {base - config.largest} to "
                f"{base + config.largest} bits, only {FEWEST_BITS} to {MOST_BITS} exist: use other base bits, "
                f"{'a smaller largest' if config.largest > 1 else 'or mixed=none for the same bits everywhere'}"
            )


def first_bounds(
    network: Network, calibration: CalibrationSet, plan: QuantizationPlan, config: GBA
) -> ActivationBounds:
    """Stage 1: bounds of activations; those of smallest error depend on the bits."""
    rule = minmax if config.ranges == "minmax" else mse
    return activation_bounds(network, plan, calibration.batches(BATCH), Collection(rule, config.momentum))


def bit_gradients(
    student: Network, quantizers: list[Quantizer], lessons: Lessons, config: GBA, report: Callable[[], None]
) -> list[float]:
    """Stage 2: mean gradient of the loss in the bits of each quantizer (Eq. 6)."""
    with learnable_bits(quantizers) as offsets:
        gradients = MeanGradients(offsets)

        @torch.no_grad()
        def collect() -> None:
            gradients.add()
            for offset in offsets:
                offset.clamp_(-config.largest, config.largest)

        optimizer = torch.optim.Adam(offsets, config.allocation_rate if config.mode == "adam" else 0.0)
        train_pass(student, lessons, optimizer, _loss(config), collect, report)
    return gradients.means()


def learn_bounds(student: Network, lessons: Lessons, config: GBA, progress: Progress | None) -> None:
    """Stage 3: Adam on the bounds alone, at a rate that decays from pass to pass."""
    layers, relative = list(quant_layers(student)), config.rates == "relative"
    quantizers: dict[Group, list[Quantizer]] = {
        "activations": list(activation_quantizers(student).values()),
        "weights": _quantizers(student, "weights", layers),
    }
    turns = [
        adam([rate for group in turn for rate in bound_rates(quantizers[group], config.learning_rate, relative)])
        for turn in TURNS[config.schedule]
    ]
    guards, stream, steps = Guards(student), iter(lessons), len(lessons) // config.epochs
    for epoch in range(config.epochs):
        optimizer = turns[epoch % len(turns)]
        report = counter(progress, f"bounds, pass {epoch + 1}/{config.epochs}", steps)
        train_pass(student, islice(stream, steps), optimizer, _loss(config), guards, report)
        decay(optimizer, config.decay)
    student.requires_grad_(False)


def _loss(config: GBA) -> Loss:
    """Eq. 1 and 3, divided by ``WHITE``."""
    return distillation(config.feature_weight / WHITE)


def _student(network: Network, plan: QuantizationPlan, bounds: ActivationBounds, dynamic: bool) -> Network:
    """The quantized network with the bounds of stage 1."""
    student = insert_quantizers(network, plan, bounds, symmetric_mse)
    if dynamic:
        for layer in quant_layers(student).values():
            axis = -1 if isinstance(layer, QuantLinear) else 1
            layer.input_quantizer = DANQuantizer(layer.input_quantizer.bits, axis)
    return student


def _quantizers(student: Network, group: Group, layers: Iterable[str]) -> list[Quantizer]:
    by_name = quant_layers(student)
    found = [by_name[name] for name in layers]
    return [bounded_quantizer(layer) if group == "activations" else layer.weight_quantizer for layer in found]


def _changed_bits(plan: QuantizationPlan, offsets: Mapping[str, int], group: Group) -> dict[str, LayerBits]:
    """Bits of layers that have the base bits of a group plus their offsets."""
    base = plan.policy.base
    if group == "activations":
        return {
            name: replace(plan.layers[name], activation=base.activation + offset) for name, offset in offsets.items()
        }
    return {name: replace(plan.layers[name], weight=base.weight + offset) for name, offset in offsets.items()}


def _body(plan: QuantizationPlan, config: GBA) -> list[str]:
    """Layers whose bits can change: neither head nor tail, and without an override."""
    if not plan.body and config.mixed != "none":
        raise PolicyError("no layer's bits can be chosen: all are head, tail, float or fixed by an override")
    return list(plan.body)
