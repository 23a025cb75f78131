"""AdaBM: on-the-fly adaptive bit mapping (Hong and Lee, CVPR 2024).

Activations have ``b_base + b_I + b_L`` bits: ``b_I`` in -1, 0, 1 by picture (I2B), ``b_L`` in -1, 0, 1 by layer (L2B).

Initialization phase:
1. The float network runs on batches of 16 crops: min-max of each activation, moving average 0.9. Weights: OMSE.
2. I2B: the 10 % and 90 % quantiles of the crops' gradient densities become the thresholds of ``b_I``.
3. L2B: the 30 % and 70 % quantiles of the layers' sensitivities, the deviations of their inputs, choose ``b_L``.
4. BaC: activation bounds shrink to the smallest squared error at ``b_base + b_L`` bits.

Finetuning phase: 10 passes over pairs of crops, in turn for weight bounds, activation bounds, ``b_L`` and I2B
thresholds. Loss: ``L_pix + 10 * L_skt``, in the third turn ``+ 50 * L_bit``.

Weights have ``b_base`` bits everywhere; in AdaBM* of GBA's tables (``mixed=both``) ``b_base + b_L``, see
``adaptive_weights``.

When the network runs, ``b_I`` is found for each picture by one gradient filter; ``b_L`` is fixed.
BaC and OMSE follow the paper (``bac_range``, ``omse``). The order of turns, the decay of their rates and the gradients
are the released code's; ``order``, ``decay_schedule``, ``image_gradient`` and ``bound_gradient`` select the paper's.

Names in the paper and here::

    I2B, l_i2b, u_i2b (Eq. 3)   image_to_bit.ImageToBit, its lower and upper
    c(I_LR)                     grids.picture_density.gradient_density
    L2B, b_L (Eq. 4)            layer_to_bit.LayerToBit, first_layer_bits
    s_k (sensitivity)           layer_to_bit.layer_sensitivities
    p_I, p_L                    AdaBM.image_percentile, AdaBM.layer_percentile
    BaC, epsilon (Eq. 5)        bit_aware_clipping.apply_bac, bac_bounds
    OMSE                        omse_rule
    Eq. 7                       image_to_bit.ImageToBit, its scaled
    Eq. 8, 9                    clipping_gradients.clipping_gradients
    L_pix, L_skt (Eq. 10)       output_loss, feature_distance
    L_bit, b_tar (Eq. 11)       bit_loss, its target_bits
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lesson, recorded
from srquant.distillation.loop import Guards, Loss, Rate, adam, decay, rate_of, train_pass
from srquant.distillation.losses import WHITE, feature_distance, output_loss
from srquant.distillation.recipes import LearnedGroup, Progress, counter
from srquant.errors import PolicyError
from srquant.grids.range_rules import Bounds, Rule, minmax, shrink, symmetric_mse
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.adabm.adaptive_bits import (
    AdaptiveNetwork,
    PictureBits,
    adaptive_quantizers,
    make_adaptive,
    mean_bits,
)
from srquant.methods.adabm.adaptive_weights import (
    first_weight_bits,
    make_weights_adaptive,
    weight_bits_above_base,
)
from srquant.methods.adabm.bit_aware_clipping import apply_bac
from srquant.methods.adabm.branches import branch_of, settle_branches
from srquant.methods.adabm.clipping_gradients import clipping_gradients
from srquant.methods.adabm.image_to_bit import I2BCalibration
from srquant.methods.adabm.layer_to_bit import LayerToBit, first_layer_bits, layer_sensitivities
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import BATCH, MOMENTUM, origin_of
from srquant.models.network import Network, device_of, modules_of, on_device_of
from srquant.quantizers.integer_weight import weight_levels
from srquant.quantizers.layers import activation_quantizers, quant_layers

Turn = Literal["weights", "activations", "bits"]

ORDERS: dict[str, tuple[Turn, ...]] = {
    "code": ("weights", "activations", "bits"),
    "paper": ("bits", "weights", "activations"),
}

SMALLEST_FACTOR = 51
"""The released code searches weight bounds down to this percentage of the first ones."""

NARROWEST = 0.5
"""Bounds stay this far apart, relative to their distance before finetuning (ours). Without this, one step at the
published rate takes the narrowest bounds to zero, and one gradient there is so large that Adam hardly moves them
afterwards."""


@dataclass(frozen=True)
class AdaBM:
    """Options of ``adabm``."""

    image_to_bit: bool = option(True, "I2B: bits by picture", "Eq. 2")
    layer_to_bit: bool = option(True, "L2B: bits by layer", "Eq. 2")
    mixed: Literal["activations", "both"] = option(
        "activations",
        "whose bits L2B chooses: those of activations, or those of weights too, by the deviation of each weight tensor "
        "(AdaBM* in GBA's tables, which don't say how)",
        "Eq. 2; both is ours",
    )
    bac: bool = option(True, "BaC: bit-aware clipping of activation bounds", "Eq. 5")
    finetune: bool = option(True, "learn bounds, b_L of layers and thresholds of I2B", "paper")
    image_percentile: float = option(
        10.0, "percent of crops below the lower and above the upper threshold of I2B", "paper", most=50
    )
    layer_percentile: float = option(30.0, "percent of layers that start with one bit less, and with one more", "paper")
    fixed: tuple[str, ...] = option(("*.LFF",), "layers that keep the base bits", "AdaBM code, for RDN")
    clamp_bits: bool = option(False, "clamp bits to 2..8; false: bits outside are an error", "ours")
    momentum: float = option(0.9, MOMENTUM + " and of I2B thresholds", "AdaBM code", most=1)
    omse: Literal["paper", "code"] = option(
        "paper",
        "weight bounds of smallest squared error: 1.00 to 0.01 of the largest magnitude, at the layer's own bits; or "
        "1.00 to 0.51 of the largest value, at the base bits",
        "paper, section 4.1",
    )
    bac_range: Literal["paper", "code"] = option(
        "paper",
        "BaC: the best bounds on 16 crops, or half of the way to the best ones on one pair",
        "Eq. 5",
    )
    order: Literal["code", "paper"] = option(
        "code",
        "order of turns: weights, activations, bits; or bits, weights, activations",
        "AdaBM code",
    )
    epochs: int = option(10, "passes over the crops", "paper", least=1)
    batch: int = option(2, "crops per step", "paper", least=1)
    activation_rate: float = option(0.01, "learning rate of activation bounds", "paper")
    weight_rate: float = option(0.01, "learning rate of weight bounds", "paper")
    layer_rate: float = option(0.01, "learning rate of b_L", "paper")
    image_rate: float = option(0.1, "learning rate of I2B thresholds", "paper")
    decay: float = option(0.9, "factor of the learning rates, see decay_schedule", "paper")
    decay_schedule: Literal["code", "paper"] = option(
        "code",
        "when learning rates decay: those of a turn after each of its own passes, or all after every pass",
        "AdaBM code",
    )
    bound_gradient: Literal["code", "paper"] = option(
        "code",
        "gradients of bounds: with the rounding errors of the values between them, or of clipped values alone as in "
        "Eq. 8 and 9",
        "AdaBM code",
    )
    image_gradient: Literal["code", "paper"] = option(
        "code",
        "gradient of I2B thresholds: with the factor 2 / (upper - lower), or without it as in Eq. 7",
        "AdaBM code",
    )
    rates: Literal["absolute", "relative"] = option(
        "absolute", "learning rates of bounds as given, or times each quantizer's range", "paper"
    )
    feature_weight: float = option(10.0, "lambda_skt, weight of the feature loss", "paper")
    bit_weight: float = option(50.0, "lambda_bit, weight of the mean bits above the base", "paper")


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: AdaBM,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Algorithm 1: quantize with bits by picture and layer; arguments as ``srquant.methods.Quantize``.

    Returns:
        With a ``BranchedNetwork``, unless ``image_to_bit`` is off.
    """
    check(policy, config)
    plan = resolve(network, policy)
    student = initialise(network, calibration, plan, config)
    if config.bac:
        clip(student, calibration, config)
    if config.finetune:
        finetune(student, network, calibration, policy.base.activation, config, progress)
    student.requires_grad_(False)
    origin = origin_of("adabm", config, calibration)
    return QuantizedModel(settled(student), plan.with_bits(layer_bits(student)).policy, origin)


def check(policy: Policy, config: AdaBM) -> None:
    """Raise a ``PolicyError`` where bits could leave 2..8, or activation grids are not per tensor."""
    check_bits("activations", policy.base.activation, config.image_to_bit + config.layer_to_bit, config)
    if config.mixed == "both":
        if not config.layer_to_bit:
            raise PolicyError("adabm mixes the bits of weights by layer: --set layer_to_bit=true, or mixed=activations")
        check_bits("weights", policy.base.weight, 1, config)
    if policy.activation_granularity != "tensor":
        raise PolicyError("adabm needs one activation grid per tensor: leave activation_granularity at 'tensor'")


def check_bits(group: LearnedGroup, base: int, farthest: int, config: AdaBM) -> None:
    """Raise a ``PolicyError`` where bits of the group, which are up to ``farthest`` from ``base``, could leave 2..8."""
    if not config.clamp_bits and not FEWEST_BITS <= base - farthest <= base + farthest <= MOST_BITS:
        raise PolicyError(
            f"adabm would use {base - farthest} to {base + farthest} bits at {base}-bit {group}, only "
            f"{FEWEST_BITS} to {MOST_BITS} exist: choose {FEWEST_BITS + farthest} to {MOST_BITS - farthest} bits, or "
            "--set clamp_bits=true"
        )


def initialise(network: Network, calibration: CalibrationSet, plan: QuantizationPlan, config: AdaBM) -> Network:
    """A quantized copy with min-max and OMSE bounds, I2B thresholds and first ``b_L``, from one pass over the crops."""
    layers = adaptive_layers(plan, config)
    i2b = I2BCalibration(config.image_percentile / 100, config.momentum, scaled=config.image_gradient == "code")
    with layer_sensitivities(network, layers) as sensitivities:
        batches = i2b.watching(on_device_of(network, calibration.batches(BATCH)))
        bounds = activation_bounds(network, plan, batches, Collection(minmax, config.momentum))
    base, share = plan.policy.base, config.layer_percentile / 100
    of_weights = first_weight_bits(network, layers, share) if config.mixed == "both" else {}
    mixed = plan.with_bits({name: weight_bits(base, b_l) for name, b_l in of_weights.items()})
    student = insert_quantizers(network, mixed, bounds, omse_rule(config.omse, base.weight))
    make_weights_adaptive(student, base.weight, of_weights)
    pictures = PictureBits(torch.zeros(1, device=device_of(network))) if config.image_to_bit else None
    make_adaptive(student, layers, pictures)
    if config.layer_to_bit:
        s = torch.tensor([sum(of_batches) / len(of_batches) for of_batches in sensitivities.values()])
        first = first_layer_bits(s, share)
        for quantizer, b_l in zip(adaptive_quantizers(student).values(), first, strict=True):
            quantizer.layer_to_bit.factor.data.copy_(b_l)
    return student if pictures is None else AdaptiveNetwork(student, i2b.image_to_bit(), pictures)


def adaptive_layers(plan: QuantizationPlan, config: AdaBM) -> list[str]:
    """Layers of the body at the base bits, except those that ``fixed`` or an override names.

    Raises:
        PolicyError: there are none.
    """
    names = [name for name in plan.body if not any(fnmatchcase(name, pattern) for pattern in config.fixed)]
    if not names:
        raise PolicyError("adabm finds no layer in the body whose bits it could adapt: leave some at the base bits")
    return names


def weight_bits(base: LayerBits, b_l: int) -> LayerBits:
    """Base bits with ``b_L`` added to those of the weights, clamped to 2..8."""
    return replace(base, weight=min(max(base.weight + b_l, FEWEST_BITS), MOST_BITS))


def omse_rule(reading: Literal["paper", "code"], base_bits: int) -> Rule:
    """OMSE: the factor 1.00, 0.99 .. of the first bound with the smallest squared error.

    Args:
        reading: factors down to 0.01 of the largest magnitude (paper); or down to 0.51 of the largest value, judged at
            base bits (code).
        base_bits: of weights.
    """
    if reading == "paper":
        return symmetric_mse

    def rule(rows: Tensor, levels: int) -> Bounds:
        largest = rows.amax(1)
        return shrink(rows, weight_levels(base_bits), (-largest, largest), SMALLEST_FACTOR)

    return rule


def clip(student: Network, calibration: CalibrationSet, config: AdaBM) -> None:
    """BaC of all activation bounds, in place."""
    size, kept = (BATCH, 0.0) if config.bac_range == "paper" else (config.batch, 0.5)
    apply_bac(student, next(on_device_of(student, calibration.batches(size))), kept)


def finetune(
    student: Network,
    teacher: Network,
    calibration: CalibrationSet,
    target_bits: int,
    config: AdaBM,
    progress: Progress | None,
) -> None:
    """Finetuning phase: what is learned takes turns, one per pass, in place."""
    rates = rates_of(student, config)
    order = [turn for turn in ORDERS[config.order] if rates[turn]]
    optimizers = {turn: adam(rates[turn]) for turn in order}
    guards = Guards(student, NARROWEST)
    gradients = clipping_gradients(student) if config.bound_gradient == "paper" else nullcontext()
    with recorded(teacher, calibration.batches(config.batch)) as lessons, gradients:
        for epoch in range(config.epochs):
            turn = order[epoch % len(order)]
            report = counter(progress, f"pass {epoch + 1}/{config.epochs} {turn}", len(lessons))
            loss = loss_of(student, turn, target_bits, config)
            train_pass(student, lessons, optimizers[turn], loss, lambda: keep_apart(student, guards), report)
            for decaying in order if config.decay_schedule == "paper" else [turn]:
                decay(optimizers[decaying], config.decay)


def rates_of(student: Network, config: AdaBM) -> dict[Turn, list[Rate]]:
    """What learns in each turn, and the learning rates."""
    relative = config.rates == "relative"
    weights = (layer.weight_quantizer for layer in quant_layers(student).values())
    bits: list[Rate] = []
    if config.layer_to_bit:
        mappings = modules_of(student, LayerToBit).values()
        bits.append(Rate([layer_to_bit.factor for layer_to_bit in mappings], config.layer_rate))
    if isinstance(student, AdaptiveNetwork):
        bits.append(Rate(list(student.image_to_bit.parameters()), config.image_rate))
    return {
        "weights": [
            Rate([q.upper] if q.lower is None else [q.lower, q.upper], rate_of(q, config.weight_rate, relative))
            for q in weights
        ],
        "activations": [
            Rate([q.lower, q.upper], rate_of(q, config.activation_rate, relative))
            for q in activation_quantizers(student).values()
        ],
        "bits": bits,
    }


def loss_of(student: Network, turn: Turn, target_bits: int, config: AdaBM) -> Loss:
    """Eq. 12 in the turn of bits, else Eq. 13; ``L_pix`` is in grey levels."""

    def loss(output: Tensor, features: list[Tensor], lesson: Lesson) -> Tensor:
        total = WHITE * output_loss(output, lesson.output)
        if lesson.features:
            total = total + config.feature_weight * feature_distance(features, lesson.features)
        return total + config.bit_weight * bit_loss(student, target_bits) if turn == "bits" else total

    return loss


def bit_loss(student: Network, target_bits: int) -> Tensor:
    """``L_bit``: how far the mean bits of the current batch are above the target, at least 0 (Eq. 11); 0-d.

    Where the bits of weights are mixed, the same of weights is added.
    """
    return (mean_bits(student) - target_bits).relu() + weight_bits_above_base(student)


@torch.no_grad()
def keep_apart(student: Network, guards: Guards) -> None:
    """Keep each upper bound above the lower one, and the I2B thresholds as well."""
    guards()
    if isinstance(student, AdaptiveNetwork):
        student.image_to_bit.keep_apart()


def settled(student: Network) -> Network:
    """The result, settled on the lattice: three branches, or a plain network without I2B."""
    if isinstance(student, AdaptiveNetwork):
        return settle_branches(student)
    plain = branch_of(student, 0)
    settle(plain)
    return plain


def layer_bits(student: Network) -> dict[str, LayerBits]:
    """Bits of adaptive layers for pictures of middle density."""
    weights = {name: layer.weight_quantizer.deployable(layer.weight) for name, layer in quant_layers(student).items()}
    activations = {name: quantizer.deployable() for name, quantizer in adaptive_quantizers(student).items()}
    return {name: LayerBits(weights[name].bits, quantizer.bits) for name, quantizer in activations.items()}
