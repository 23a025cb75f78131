"""AdaBM: on-the-fly adaptive bit mapping (Hong and Lee, CVPR 2024).

Activations get ``base + b_I + b_L`` bits: b_I in -1, 0, 1 by the picture's gradient density, b_L in -1, 0, 1 by layer.

1. Float network on batches of 16 crops: min-max of each activation, moving average 0.9; weights by smallest squared
   error. The 10 % and 90 % quantiles of the crops' densities become the thresholds of b_I; the 30 % and 70 % quantiles
   of the layers' input deviations choose b_L.
2. Bit-aware clipping: shrink each activation's bounds to the smallest error at ``base + b_L`` bits.
3. Finetune in turns of one pass over pairs of crops, 10 in all: weight bounds; activation bounds; b_L and thresholds.
   Loss: output + 10 * features + 50 * bits above the base, the last one in the third turn only.

When the network runs, one gradient filter per picture chooses b_I; b_L rests.
The order of turns is the released code's; clipping and weights follow the paper (``bac_range``, ``omse``).
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lesson, recorded
from srquant.distillation.loop import Guards, Loss, Rate, adam, bound_rates, decay, rate_of, train_pass
from srquant.distillation.losses import WHITE, feature_distance, output_loss
from srquant.distillation.recipes import Progress, counter
from srquant.errors import DatasetError, PolicyError
from srquant.grids.range_rules import Bounds, Rule, minmax, shrink, symmetric_max
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.adabm.adaptive_bits import (
    AdaptiveNetwork,
    DensityThresholds,
    PictureBits,
    adaptive_quantizers,
    make_adaptive,
    mean_bits,
)
from srquant.methods.adabm.bit_aware_clipping import clip_to_bits
from srquant.methods.adabm.branches import branch_of, settle_branches
from srquant.methods.adabm.calibrate_mappings import DensityQuantiles, input_deviations, sensitive_layers
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import BATCH, MOMENTUM, origin_of
from srquant.models.network import Network
from srquant.quantizers.integer_weight import weight_levels
from srquant.quantizers.layers import activation_quantizers, quant_layers

Turn = Literal["weights", "activations", "bits"]

ORDERS: dict[str, tuple[Turn, ...]] = {
    "code": ("weights", "activations", "bits"),
    "paper": ("bits", "weights", "activations"),
}

SMALLEST_FACTOR = 51
"""Weight bounds are searched down to this percentage."""

NARROWEST = 0.5
"""Bounds stay this far apart, relative to where finetuning found them (ours). At the published rate one step takes the
narrowest bounds to zero, and the gradient there is so large that Adam hardly moves them ever after."""

NARROWEST_DENSITY = 1e-3
"""Thresholds of the density stay this far apart."""


@dataclass(frozen=True)
class AdaBM:
    """Options of ``adabm``."""

    image_to_bit: bool = option(True, "bits by picture", "Eq. 2")
    layer_to_bit: bool = option(True, "bits by layer", "Eq. 2")
    bac: bool = option(True, "bit-aware clipping of activation bounds", "Eq. 5")
    finetune: bool = option(True, "learn bounds, bits of layers and thresholds of pictures", "paper")
    image_percentile: float = option(
        10.0, "percent of crops below the lower and above the upper threshold", "paper", most=50
    )
    layer_percentile: float = option(30.0, "percent of layers that start with a bit less, and with one more", "paper")
    fixed: tuple[str, ...] = option(("*.LFF",), "layers that keep the base bits", "AdaBM code, for RDN")
    clamp_bits: bool = option(False, "bits below 2 or above 8 become 2 or 8; else they are an error", "ours")
    momentum: float = option(0.9, MOMENTUM + " and thresholds", "AdaBM code", most=1)
    omse: Literal["paper", "code"] = option(
        "paper",
        "search of weight bounds: from the largest magnitude at the layer's own bits, or from the largest value at "
        "the base bits",
        "paper",
    )
    bac_range: Literal["paper", "code"] = option(
        "paper",
        "clip to the best bounds on 16 crops, or half of the way on one pair",
        "Eq. 5",
    )
    order: Literal["code", "paper"] = option(
        "code",
        "turns: weights, activations, bits; or bits, weights, activations",
        "AdaBM code",
    )
    epochs: int = option(10, "passes over the crops", "paper", least=1)
    batch: int = option(2, "crops per step", "paper", least=1)
    activation_rate: float = option(0.01, "learning rate of activation bounds", "paper")
    weight_rate: float = option(0.01, "learning rate of weight bounds", "paper")
    layer_rate: float = option(0.01, "learning rate of the layers' factors", "paper")
    image_rate: float = option(0.1, "learning rate of the pictures' thresholds", "paper")
    decay: float = option(0.9, "factor of a turn's rates after each of its passes", "AdaBM code")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "rates of bounds as they are, or times each quantizer's range", "paper"
    )
    feature_weight: float = option(10.0, "weight of the feature loss", "paper")
    bit_weight: float = option(50.0, "weight of the bits above the base", "paper")


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: AdaBM,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with bits by picture and layer; arguments as ``srquant.methods.Quantize``.

    Returns:
        A ``BranchedNetwork`` where bits depend on the picture.
    """
    check(policy, config)
    plan = resolve(network, policy)
    student = initialise(network, calibration, plan, config)
    if config.bac:
        size, kept = (BATCH, 0.0) if config.bac_range == "paper" else (config.batch, 0.5)
        clip_to_bits(student, next(calibration.batches(size)), kept)
    if config.finetune:
        finetune(student, network, calibration, policy.base.activation, config, progress)
    student.requires_grad_(False)
    origin = origin_of("adabm", config, calibration)
    return QuantizedModel(settled(student), plan.with_bits(layer_bits(student)).policy, origin)


def check(policy: Policy, config: AdaBM) -> None:
    """Raise a ``PolicyError`` where bits could leave 2..8, or grids are not per tensor."""
    base, farthest = policy.base.activation, config.image_to_bit + config.layer_to_bit
    if not config.clamp_bits and not FEWEST_BITS <= base - farthest <= base + farthest <= MOST_BITS:
        raise PolicyError(
            f"adabm would use {base - farthest} to {base + farthest} bits at {base}-bit activations, only "
            f"{FEWEST_BITS} to {MOST_BITS} exist: choose {FEWEST_BITS + farthest} to {MOST_BITS - farthest} bits, or "
            "--set clamp_bits=true"
        )
    if policy.activation_granularity != "tensor":
        raise PolicyError("adabm needs one activation grid per tensor: leave activation_granularity at 'tensor'")


def initialise(network: Network, calibration: CalibrationSet, plan: QuantizationPlan, config: AdaBM) -> Network:
    """A quantized copy with min-max bounds and the first bits, from one pass of the float network."""
    layers = adaptive_layers(plan, config)
    quantiles = DensityQuantiles(config.image_percentile / 100, config.momentum)
    with input_deviations(network, layers) as deviations:
        batches = quantiles.watching(calibration.batches(BATCH))
        bounds = activation_bounds(network, plan, batches, Collection(minmax, config.momentum))
    student = insert_quantizers(network, plan, bounds, weight_rule(config.omse, plan.policy.base.weight))
    pictures = PictureBits(torch.zeros(1)) if config.image_to_bit else None
    make_adaptive(student, layers, pictures)
    if config.layer_to_bit:
        means = torch.tensor([sum(seen) / len(seen) for seen in deviations.values()])
        first = sensitive_layers(means, config.layer_percentile / 100)
        for quantizer, factor in zip(adaptive_quantizers(student).values(), first, strict=True):
            quantizer.layer_factor.data.copy_(factor)
    return student if pictures is None else AdaptiveNetwork(student, thresholds(quantiles.bounds), pictures)


def adaptive_layers(plan: QuantizationPlan, config: AdaBM) -> list[str]:
    """Layers of the body at the base bits, but those that are fixed or given bits by name.

    Raises:
        PolicyError: there are none.
    """
    names = [name for name in plan.body if not any(fnmatchcase(name, pattern) for pattern in config.fixed)]
    if not names:
        raise PolicyError("adabm finds no layer in the body whose bits it could adapt: leave some at the base bits")
    return names


def thresholds(quantiles: Tensor | None) -> DensityThresholds:
    """Thresholds at the quantiles of the crops' densities.

    Raises:
        DatasetError: all crops are equally dense.
    """
    assert quantiles is not None
    lower, upper = quantiles
    if float(upper - lower) < NARROWEST_DENSITY:
        raise DatasetError(
            f"all calibration crops have gradient density {float(lower):.3g}, so adabm can't tell pictures apart: "
            "give different pictures, or --set image_to_bit=false"
        )
    return DensityThresholds(lower, upper)


def weight_rule(reading: Literal["paper", "code"], base_bits: int) -> Rule:
    """The best factor 1.00, 0.99 .. 0.51 of the largest magnitude; in the code, of the largest value at base bits."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        if reading == "paper":
            return shrink(rows, levels, symmetric_max(rows, levels), SMALLEST_FACTOR)
        largest = rows.amax(1)
        return shrink(rows, weight_levels(base_bits), (-largest, largest), SMALLEST_FACTOR)

    return rule


def finetune(
    student: Network,
    teacher: Network,
    calibration: CalibrationSet,
    target_bits: int,
    config: AdaBM,
    progress: Progress | None,
) -> None:
    """Take turns in learning, in place."""
    rates = rates_of(student, config)
    order = [turn for turn in ORDERS[config.order] if rates[turn]]
    optimizers = {turn: adam(rates[turn]) for turn in order}
    guards = Guards(student, NARROWEST)
    with recorded(teacher, calibration.batches(config.batch)) as lessons:
        for epoch in range(config.epochs):
            turn = order[epoch % len(order)]
            report = counter(progress, f"pass {epoch + 1}/{config.epochs} {turn}", len(lessons))
            loss = loss_of(student, turn, target_bits, config)
            train_pass(student, lessons, optimizers[turn], loss, lambda: keep_apart(student, guards), report)
            decay(optimizers[turn], config.decay)


def rates_of(student: Network, config: AdaBM) -> dict[Turn, list[Rate]]:
    """What learns in each turn, and how fast."""
    relative = config.rates == "relative"
    weights = [layer.weight_quantizer for layer in quant_layers(student).values()]
    bits: list[Rate] = []
    if config.layer_to_bit:
        bits.append(Rate([q.layer_factor for q in adaptive_quantizers(student).values()], config.layer_rate))
    if isinstance(student, AdaptiveNetwork):
        bits.append(Rate(list(student.thresholds.parameters()), config.image_rate))
    return {
        "weights": bound_rates(weights, config.weight_rate, relative),
        "activations": [
            Rate([q.lower, q.upper], rate_of(q, config.activation_rate, relative))
            for q in activation_quantizers(student).values()
        ],
        "bits": bits,
    }


def loss_of(student: Network, turn: Turn, target_bits: int, config: AdaBM) -> Loss:
    """AdaBM Eq. 10-13."""

    def loss(output: Tensor, features: list[Tensor], lesson: Lesson) -> Tensor:
        total = WHITE * output_loss(output, lesson.output)
        if lesson.features:
            total = total + config.feature_weight * feature_distance(features, lesson.features)
        return total + config.bit_weight * excess_bits(student, target_bits) if turn == "bits" else total

    return loss


def excess_bits(student: Network, target_bits: int) -> Tensor:
    """How far the mean bits of the pictures in work are above the target; 0 below."""
    return (mean_bits(student) - target_bits).relu()


@torch.no_grad()
def keep_apart(student: Network, guards: Guards) -> None:
    """Keep bounds, and the thresholds of pictures, in their order."""
    guards()
    if isinstance(student, AdaptiveNetwork):
        lower, upper = student.thresholds.lower, student.thresholds.upper
        upper.copy_(torch.maximum(upper, lower + NARROWEST_DENSITY))


def settled(student: Network) -> Network:
    """The plain network, or its branches, on the lattice."""
    if isinstance(student, AdaptiveNetwork):
        return settle_branches(student)
    plain = branch_of(student, 0)
    settle(plain)
    return plain


def layer_bits(student: Network) -> dict[str, LayerBits]:
    """The bits that adaptive layers have for pictures of middle density."""
    layers = quant_layers(student)
    return {
        name: LayerBits(layers[name].weight_quantizer.bits, quantizer.deployable().bits)
        for name, quantizer in adaptive_quantizers(student).items()
    }
