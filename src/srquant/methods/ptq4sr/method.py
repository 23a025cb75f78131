"""PTQ4SR (Tu et al., CVPR 2023): density-based dual clipping, then pixel-aware calibration.

1. DBDC, density-based dual clipping (section 3.2), of activations: at most 30 batches of 16 crops, the first through
   the float network, the others with quantized weights. Of each activation's histogram the emptier end bin is cut,
   again and again, until 5 of 10,000 values (at 8 bits 1 of 100,000) are outside. Bounds are the mean over batches.
2. Weights: min-max.
3. PaC, pixel-aware calibration (section 3.3), learns the bounds of activations and then those of weights: 250
   iterations of 2 crops each, Adam with a half-cosine schedule, gradients scaled as in LSQ. Loss: L1 between the
   pictures of the quantized and the float network + ``attention_weight`` * squared distance of spatial attention maps,
   mean over blocks.

The paper keeps the upsampler at low bits; here ``tail`` of the policy decides.
In the released code the attention maps have no gradient (``feature_gradient=false``), and lower bounds are a bin too
high.

=========================  ================================================================
in the paper               here
=========================  ================================================================
DBDC                       ``density_based_dual_clipping``, ``dual_clipping.dbdc``
p, clipped ratio (code)    ``share``, ``share_8bit``
PaC                        ``pixel_aware_calibration``
PaC's loss                 ``pac_loss``
attention map A(F)         ``distillation.losses.attention_map``
=========================  ================================================================
"""

import copy
import math
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.distillation.iterations import Iterations, epochs, iterate
from srquant.distillation.lessons import Lesson, recorded
from srquant.distillation.loop import Guards, Loss
from srquant.distillation.losses import attention_loss, output_loss
from srquant.distillation.recipes import Progress, counter
from srquant.errors import PolicyError
from srquant.grids.range_rules import Bounds, Rule, percentile, symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.options import option
from srquant.methods.ptq4sr.dual_clipping import dbdc
from srquant.methods.ptq4sr.lsq_gradients import scaled_gradients
from srquant.methods.ranges.pipeline import BATCH, origin_of
from srquant.models.network import Network
from srquant.quantizers.layers import activation_quantizers, quant_layers, quantized_weight

BATCHES = 30
"""Most batches from which DBDC computes bounds."""

CROPS = 8
"""Most different crops of a picture in PaC."""


@dataclass(frozen=True)
class PTQ4SR:
    """Options of ``ptq4sr``."""

    share: float = option(5e-4, "share of an activation's values outside its bounds", "released config", most=0.49)
    share_8bit: float = option(1e-5, "the same in layers with 8-bit activations", "released code")
    weights: Literal["per_tensor", "per_channel"] = option(
        "per_tensor",
        "per_tensor: as the policy says; per_channel: a grid with two bounds per output channel",
        "others' tables; released code",
    )
    weight_share: float = option(
        0.0, "share of weights with two bounds cut on each side; SRResNet: 1e-4", "released config, EDSR", most=0.49
    )
    pac: bool = option(True, "pixel-aware calibration: learn the bounds after clipping", "section 3.3")
    iterations: int = option(250, "steps for activations, and as many for weights", "released config", least=1)
    batch: int = option(2, "crops per step", "released config", least=1)
    activation_rate: tuple[float, ...] = option((5e-3, 2e-3), "Adam's learning rate, first and last", "released config")
    weight_rate: tuple[float, ...] = option((5e-6, 2e-6), "Adam's learning rate, first and last", "released config")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "relative: times each range, which networks in [0, 255] need", "paper; ours"
    )
    attention_weight: float = option(5.0, "weight of the attention maps' loss", "released config")
    feature_gradient: bool = option(True, "attention maps have a gradient; in the code they have none", "section 3.3")

    def __post_init__(self) -> None:
        for name in ("activation_rate", "weight_rate"):
            if len(getattr(self, name)) != 2:
                raise PolicyError(f"option {name} is {getattr(self, name)}: give two rates, first and last")


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: PTQ4SR,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with PTQ4SR; arguments as ``srquant.methods.Quantize``. Its crops are neither flipped nor turned."""
    calibration = replace(calibration, augmented=False)
    if config.weights == "per_channel":
        policy = replace(policy, granularity="channel", symmetric_weights=False)
    student = density_based_dual_clipping(network, calibration, policy, config)
    if config.pac:
        pixel_aware_calibration(student, network, calibration, config, progress)
    settle(student)
    return QuantizedModel(student, policy, origin_of("ptq4sr", config, calibration))


def density_based_dual_clipping(
    network: Network, calibration: CalibrationSet, policy: Policy, config: PTQ4SR
) -> Network:
    """DBDC: a quantized copy of the float network, not settled."""
    weight_rule = symmetric_max if policy.symmetric_weights else percentile(config.weight_share)
    collect = Collection(dbdc_by_bits(config.share, config.share_8bit), "mean")
    batches = islice(calibration.batches(BATCH), BATCHES)
    images, plan = next(batches), resolve(network, policy)
    first = activation_bounds(network, plan, [images], collect)
    student = insert_quantizers(network, plan, first, weight_rule)
    others = min(BATCHES, math.ceil(calibration.count / BATCH)) - 1
    if not others:
        return student
    later = activation_bounds(with_weights_of(student, network), plan, batches, collect)
    bounds = {name: mean_of_batches(first[name], later[name], others) for name in first}
    return insert_quantizers(network, plan, bounds, weight_rule)


def mean_of_batches(one: Bounds, mean: Bounds, others: int) -> Bounds:
    """Mean over ``1 + others`` batches, from the bounds of one batch and the mean of those of the others."""
    lower, upper = ((a + others * b) / (others + 1) for a, b in zip(one, mean, strict=True))
    return lower, upper


def dbdc_by_bits(share: float, share_8bit: float) -> Rule:
    """DBDC with one share for 8 bits and another for fewer bits."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        return dbdc(share_8bit if levels == 256 else share)(rows, levels)

    return rule


@torch.no_grad()
def with_weights_of(student: Network, network: Network) -> Network:
    """A copy of the float network with the quantized weights of ``student``."""
    copied = copy.deepcopy(network)
    for name, layer in quant_layers(student).items():
        copied.module.get_submodule(name).get_parameter("weight").copy_(quantized_weight(layer))
    return copied


def pixel_aware_calibration(
    student: Network, teacher: Network, calibration: CalibrationSet, config: PTQ4SR, progress: Progress | None
) -> None:
    """PaC: learn the bounds of activations, then those of weights, in place."""
    guards, loss = Guards(student), pac_loss(config)
    weights = [layer.weight_quantizer for layer in quant_layers(student).values()]
    activations = list(activation_quantizers(student).values())
    groups = (("activations", activations, config.activation_rate), ("weights", weights, config.weight_rate))
    passes = epochs(config.iterations, config.batch, calibration.count, CROPS)
    with (
        recorded(teacher, calibration.stream(config.batch, passes)) as lessons,
        scaled_gradients(student, next(iter(lessons)).images),
    ):
        for name, quantizers, (first, last) in groups:
            plan = Iterations(config.iterations, first, last, config.rates == "relative")
            report = counter(progress, f"PaC, {name}", config.iterations)
            iterate(student, quantizers, lessons, plan, loss, guards, report)
    student.requires_grad_(False)


def pac_loss(config: PTQ4SR) -> Loss:
    """L1 of pictures, plus the attention maps' loss if the network has features."""

    def loss(output: Tensor, features: list[Tensor], lesson: Lesson) -> Tensor:
        total = output_loss(output, lesson.output)
        if not features or not config.feature_gradient:
            return total
        return total + config.attention_weight * attention_loss(features, lesson.features)

    return loss
