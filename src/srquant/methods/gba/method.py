"""GBA, gradient-guided bit allocation ("Gradient Knows Best", CVPR 2026). No official code is known.

1. Bound initialisation. Activations: min-max of batches of 16 crops, moving average 0.9. DAN normalises every channel
   of every sample to [-1, 1], so with DAN the bounds are -1 and 1; min-max, widened, may limit its input (ours).
   Weights: smallest squared error (OMSE), two bounds.
2. Gradient-guided bit allocation: 2 passes over batches of 2 crops at base bits. ``g_k`` is the mean gradient, in the
   bits of layer k, of L1 in grey levels + 10 * feature loss. Layers are ranked by signed ``g_k``; a quarter of them
   gets one bit more, a quarter one bit less. First the bits of activations, then, if asked for, those of weights.
3. Bit-aware finetuning of the bounds at these bits: 2 passes of Adam at 0.01 with the same loss.

Where descriptions of the paper disagree, the supplement's argument about the sign decides: gradients are ranked with
their sign, not by size. ``s_k`` stays at zero while gradients are collected, because the ranks overwrite it anyway;
``mode=adam`` learns it meanwhile.

Names in the paper and here::

    l_k, u_k (stage 1)      initialise_bounds
    s_k, theta_k (Eq. 4, 5) bit_offsets.learnable_bits, bit_offsets.theta
    g_k (Eq. 6)             bit_offsets.MeanGradients, bit_gradients
    r_k (Eq. 7)             allocation.allocate_bits
    b_base                  policy.base
    L_grad, L_FT            loss_of
    lambda_feat             GBA.feature_weight
    DAN                     DANQuantizer
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, islice
from typing import Literal

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lessons, recorded
from srquant.distillation.loop import Guards, Loss, Quantizer, adam, bound_rates, decay, train_pass
from srquant.distillation.losses import WHITE
from srquant.distillation.recipes import LearnedGroup, Progress, counter, distillation
from srquant.errors import PolicyError
from srquant.grids.range_rules import Bounds, minmax, mse, symmetric_mse
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
from srquant.quantizers.layers import activation_quantizers, bounded_quantizer, quant_layers
from srquant.weight_rounding.choose import ALIASES, ROUNDING, Rounding, round_weights

STAGES = (1, 2, 3)
MIXED: dict[str, tuple[LearnedGroup, ...]] = {
    "none": (),
    "weights": ("weights",),
    "activations": ("activations",),
    "both": ("activations", "weights"),
}
TURNS: dict[str, tuple[tuple[LearnedGroup, ...], ...]] = {
    "together": (("activations", "weights"),),
    "alternate": (("weights",), ("activations",)),
}


@dataclass(frozen=True)
class GBA:
    """Options of ``gba``; combinations of ``mixed`` and ``dan_stages`` are the rows of the paper's Table 4."""

    mixed: Literal["none", "weights", "activations", "both"] = option(
        "activations",
        "whose bits differ from layer to layer; activations are the paper's 'Ours', both are its 'Ours*'",
        "paper, tables",
    )
    largest: int = option(1, "most bits that a layer gets or gives: candidates {-m..m}", "supplement, table 8")
    mode: Literal["probe", "adam"] = option(
        "probe", "keep bit offsets at zero while gradients are collected, or learn them with Adam", "ours; paper silent"
    )
    allocation_rate: float = option(0.1, "of Adam on bit offsets (mode adam)", "supplement, A")
    allocation_epochs: int = option(2, "stage 2: passes over the crops, for each group of bits", "supplement, A")
    allocation_batch: int = option(2, "stage 2: crops per step", "supplement, A")
    dan_stages: tuple[int, ...] | None = option(
        STAGES, "stages that normalise activations (DAN); ranges are static with none, or without 3", "ours"
    )
    dan_limit: float | None = option(
        None,
        "values outside the first bounds, widened by this factor, are clipped before DAN normalises them; none: no "
        "clipping, as published",
        "ours",
        least=1,
    )
    finetune: bool = option(True, "run stage 3", "paper")
    schedule: Literal["together", "alternate"] = option(
        "together", "learn all bounds in every step, or those of weights and of activations in alternate passes", "ours"
    )
    learning_rate: float = option(0.01, "of Adam on bounds", "supplement, A")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "learning rates of bounds as given, or times the range of each quantizer", "paper; relative is ours"
    )
    decay: float = option(0.9, "factor on the learning rate after each pass", "AdaBM code, the paper is silent")
    epochs: int = option(2, "stage 3: passes over the crops", "supplement, A")
    batch: int = option(2, "stage 3: crops per step", "supplement, A, table 11")
    feature_weight: float = option(10.0, "weight of the feature loss beside L1 in grey levels", "supplement, table 9")
    momentum: float = option(0.9, MOMENTUM, "supplement, A", most=1)
    ranges: Literal["minmax", "mse"] = option(
        "minmax", "first bounds of static activations: smallest and largest, or smallest squared error", "paper; ours"
    )
    rounding: Rounding = option("nearest", ROUNDING, "paper; ours", aliases=ALIASES)

    def __post_init__(self) -> None:
        replace_aliases(self)
        if set(self.dan_stages or ()) - set(STAGES):
            raise PolicyError(f"dan_stages is {self.dan_stages}: use some of 1,2,3, or none")
        for name in ("largest", "allocation_epochs", "allocation_batch", "epochs", "batch"):
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

    The policy of the result has one override per layer whose bits were allocated. The head, the tail and layers with an
    override in ``policy`` keep their bits.
    """
    check(policy, config)
    plan = resolve(network, replace(policy, symmetric_weights=False))
    body = body_of(plan, config)
    bounds = initialise_bounds(network, calibration, plan, config)
    with ExitStack() as folders:

        @cache  # stages with the same batches share their lessons
        def lessons(batch: int, epochs: int) -> Lessons:
            batches = chain.from_iterable(calibration.batches(batch, epoch) for epoch in range(epochs))
            return folders.enter_context(recorded(network, batches))

        for group in MIXED[config.mixed]:
            given = lessons(config.allocation_batch, config.allocation_epochs)
            plan = allocate(group, body, network, plan, bounds, given, config, progress)
            bounds = initialise_bounds(network, calibration, plan, config) if config.ranges == "mse" else bounds
        student = quantized(network, plan, bounds, stage=3, config=config)
        if config.finetune:
            finetune(student, lessons(config.batch, config.epochs), config, progress)
    round_weights(student, network, calibration.batches(BATCH), config.rounding)
    settle(student)
    return QuantizedModel(student, plan.policy, origin_of("gba", config, calibration))


def check(policy: Policy, config: GBA) -> None:
    """Raise a ``PolicyError`` where base bits plus offsets could leave 2..8, or DAN meets grids per channel."""
    if config.dan_stages and policy.activation_granularity == "channel":
        raise PolicyError("DAN gives every channel a range already: use one activation grid per tensor, or no DAN")
    for group in MIXED[config.mixed]:
        base = policy.base.activation if group == "activations" else policy.base.weight
        if not FEWEST_BITS <= base - config.largest <= base + config.largest <= MOST_BITS:
            raise PolicyError(
                f"{base}-bit {group} with offsets of up to {config.largest} would have {base - config.largest} to "
                f"{base + config.largest} bits, only {FEWEST_BITS} to {MOST_BITS} exist: use other base bits, "
                f"{'a smaller largest' if config.largest > 1 else 'or mixed=none for the same bits everywhere'}"
            )


def body_of(plan: QuantizationPlan, config: GBA) -> list[str]:
    """Layers whose bits can change: neither head nor tail, and without an override.

    Raises:
        PolicyError: bits are to be allocated, but there is no such layer.
    """
    if not plan.body and config.mixed != "none":
        raise PolicyError("no layer's bits can be chosen: all are head, tail, float or fixed by an override")
    return list(plan.body)


def initialise_bounds(
    network: Network, calibration: CalibrationSet, plan: QuantizationPlan, config: GBA
) -> ActivationBounds:
    """Stage 1: static bounds of activations; with ``ranges=mse`` they depend on the bits."""
    rule = minmax if config.ranges == "minmax" else mse
    return activation_bounds(network, plan, calibration.batches(BATCH), Collection(rule, config.momentum))


def quantized(
    network: Network, plan: QuantizationPlan, bounds: ActivationBounds, stage: Literal[2, 3], config: GBA
) -> Network:
    """The quantized network with the bounds of stage 1; with DAN at -1 and 1 where the stage has it."""
    student = insert_quantizers(network, plan, bounds, symmetric_mse)
    if stage in (config.dan_stages or ()):
        for name, layer in quant_layers(student).items():
            limits = None if name in network.facts.head else limits_of(bounds[name], config.dan_limit)
            dan = DANQuantizer(layer.input_quantizer.bits, layer.channel_axis, limits)
            layer.input_quantizer = dan.to(layer.weight.device)
    return student


def limits_of(bounds: Bounds, factor: float | None) -> Tensor | None:
    """Where DAN clips: two 0-d bounds, ``factor`` times as far apart; float32 ``2``, None without a factor."""
    if factor is None:
        return None
    middle, half = (bounds[0] + bounds[1]) / 2, factor * (bounds[1] - bounds[0]) / 2
    return torch.stack([middle - half, middle + half])


def allocate(
    group: LearnedGroup,
    body: list[str],
    network: Network,
    plan: QuantizationPlan,
    bounds: ActivationBounds,
    lessons: Lessons,
    config: GBA,
    progress: Progress | None,
) -> QuantizationPlan:
    """Stage 2 for activations or weights: the plan where these have ``b_base + theta_k`` bits in layers of the body."""
    student = quantized(network, plan, bounds, stage=2, config=config)
    report = counter(progress, f"bits of {group}", len(lessons))
    g = bit_gradients(student, quantizers_of(student, group, body), lessons, config, report)
    theta = allocate_bits(g, config.largest)
    return plan.with_bits(allocated_bits(plan, group, dict(zip(body, theta, strict=True))))


def bit_gradients(
    student: Network, quantizers: list[Quantizer], lessons: Lessons, config: GBA, report: Callable[[], None]
) -> list[float]:
    """``g_k``: the mean gradient of the loss in the bits of each quantizer (Eq. 6)."""
    with learnable_bits(quantizers) as s:
        g = MeanGradients(s)

        @torch.no_grad()
        def collect() -> None:
            g.add()
            for s_k in s:
                s_k.clamp_(-config.largest, config.largest)

        optimizer = torch.optim.Adam(s, config.allocation_rate if config.mode == "adam" else 0.0)
        train_pass(student, lessons, optimizer, loss_of(config), collect, report)
    return g.means()


def allocated_bits(plan: QuantizationPlan, group: LearnedGroup, theta: Mapping[str, int]) -> dict[str, LayerBits]:
    """Bits of layers by name: ``b_base + theta_k`` for the group, the other group's as they are (Eq. 4)."""
    base, layers = plan.policy.base, plan.layers
    if group == "activations":
        return {name: replace(layers[name], activation=base.activation + theta_k) for name, theta_k in theta.items()}
    return {name: replace(layers[name], weight=base.weight + theta_k) for name, theta_k in theta.items()}


def finetune(student: Network, lessons: Lessons, config: GBA, progress: Progress | None) -> None:
    """Stage 3: Adam learns the bounds, and only these, at a rate that decays from pass to pass."""
    layers, relative = quant_layers(student), config.rates == "relative"
    quantizers: dict[LearnedGroup, list[Quantizer]] = {
        "activations": list(activation_quantizers(student).values()),
        "weights": quantizers_of(student, "weights", layers),
    }
    turns = [
        adam([rate for group in turn for rate in bound_rates(quantizers[group], config.learning_rate, relative)])
        for turn in TURNS[config.schedule]
    ]
    guards, stream, steps = Guards(student), iter(lessons), len(lessons) // config.epochs
    for epoch in range(config.epochs):
        optimizer = turns[epoch % len(turns)]
        report = counter(progress, f"bounds, pass {epoch + 1}/{config.epochs}", steps)
        train_pass(student, islice(stream, steps), optimizer, loss_of(config), guards, report)
        decay(optimizer, config.decay)
    student.requires_grad_(False)


def loss_of(config: GBA) -> Loss:
    """``L_grad`` and ``L_FT`` (Eq. 1 and 3) divided by ``WHITE``: L1 of pictures in [0, 1] plus the feature loss."""
    return distillation(config.feature_weight / WHITE)


def quantizers_of(student: Network, group: LearnedGroup, names: Iterable[str]) -> list[Quantizer]:
    """The quantizers of the inputs or weights of the named layers."""
    layers = quant_layers(student)
    if group == "activations":
        return [bounded_quantizer(layers[name]) for name in names]
    return [layers[name].weight_quantizer for name in names]
