"""2DQuant (Liu et al., NeurIPS 2024): two bounds for each weight and activation, searched, then distilled.

1. DOBI: the float network runs on 32 crops at once. For each tensor, weights too, 100 ranges are tried and the one of
   smallest squared error is kept. Bell-shaped values: both ends move; values with one tail (attention map, after GELU):
   the upper end moves.
2. DQC: all bounds learn from the float network, 3000 iterations of 32 crops, Adam, cosine from 1e-2 to 0:
   L1 of pictures + lambda * squared distance of normalised features, summed over blocks.

Attention: queries, keys and values get a layer each; linear layers and both matmuls are quantized, convolutions not.
The last iterate is kept; paper and code keep the best one on Set5.
The released code moves both ends everywhere (``dobi=code``), and its feature loss vanishes (``loss=output_only``).

Names in the paper and here::

    DOBI (Alg. 1)               dobi_stage; dobi.dobi_two_sided, dobi_one_sided
    K (Alg. 1)                  dobi.CANDIDATES
    DQC (section 3.3)           dqc_stage
    l_i, u_i (all quantizers)   quantizers_of, lower and upper of each
    L, L_O, L_F (Eq. 4 to 6)    dqc_loss, output_loss, feature_loss
    lambda                      TwoDQuant.feature_weight
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch

from srquant.data.calibration import CalibrationSet
from srquant.distillation.features import features_of
from srquant.distillation.iterations import Iterations, epochs, iterate
from srquant.distillation.lessons import Lesson, recorded
from srquant.distillation.loop import Guards, Loss, Quantizer
from srquant.distillation.losses import feature_loss, output_loss
from srquant.distillation.recipes import Progress, counter, distillation
from srquant.grids.range_rules import minmax
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.options import option, replace_aliases
from srquant.methods.ranges.pipeline import origin_of
from srquant.methods.two_d_quant.dobi import dobi_by_sign, dobi_one_sided, dobi_two_sided, layers_after_gelu
from srquant.models.blocks.split_qkv import split_qkv
from srquant.models.network import Network, on_device_of
from srquant.quantizers.layers import activation_quantizers, quant_layers
from srquant.weight_rounding.choose import ALIASES, ROUNDING, Rounding, round_weights

STATISTICS = 32
"""Crops of the one batch that DOBI sees."""

FIRST_RATIO = 0.5
"""Feature loss over output loss at the start, where lambda is not given. With the released configs' lambda, 5, the
ratio is 600 to 1300 (EDSR, IMDTN)."""

NARROWEST = 1e-4
"""Bounds stay this far apart, relative to their distance after DOBI; the released code has no such guard."""


@dataclass(frozen=True)
class TwoDQuant:
    """Options of ``2dquant``."""

    dobi: Literal["paper", "code", "none"] = option(
        "paper", "search: one-sided for values with one tail, two-sided everywhere, or min-max", "Alg. 1; released code"
    )
    dqc: bool = option(True, "learn the bounds after the search", "section 3.3")
    loss: Literal["full", "output_only"] = option(
        "full", "with the feature loss, or without, which is the effect of the code's scaling", "Eq. 4; released code"
    )
    feature_weight: float | None = option(
        None, "lambda; none: the feature loss starts at half of the output loss", "ours; released code: 5"
    )
    iterations: int = option(3000, "steps of DQC", "section 4.1; code: 4000", least=1)
    batch: int = option(32, "crops per step", "section 4.1; code: 16", least=1)
    learning_rate: float = option(1e-2, "Adam's", "section 4.1")
    rates: Literal["absolute", "relative"] = option(
        "absolute", "relative: times each range, which networks in [0, 255] need", "paper; ours"
    )
    schedule: Literal["cosine", "constant"] = option("cosine", "of the learning rate", "section 4.1; code: constant")
    beta2: float = option(0.999, "Adam's second beta", "section 4.1; code: 0.99")
    rounding: Rounding = option("nearest", ROUNDING, "paper; ours", aliases=ALIASES)
    crops: int = option(8, "most different crops per picture; the teacher's outputs are kept on disk", "ours", least=1)

    def __post_init__(self) -> None:
        replace_aliases(self)


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: TwoDQuant,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Quantize with 2DQuant; arguments as ``srquant.methods.Quantize``. Weight grids have two bounds."""
    policy = replace(policy, symmetric_weights=False)
    network = split_qkv(network)
    student = dobi_stage(network, calibration, policy, config.dobi)
    if config.dqc:
        dqc_stage(student, network, calibration, config, progress)
    round_weights(student, network, calibration.batches(STATISTICS), config.rounding)
    settle(student)
    return QuantizedModel(student, policy, origin_of("2dquant", config, calibration))


def dobi_stage(
    network: Network, calibration: CalibrationSet, policy: Policy, dobi: Literal["paper", "code", "none"]
) -> Network:
    """Stage 1, DOBI: a quantized copy of the float network; all statistics are those of the float one."""
    images = next(on_device_of(network, calibration.batches(STATISTICS)))
    activation = {"paper": dobi_by_sign, "code": dobi_two_sided, "none": minmax}[dobi]
    one_sided = dict.fromkeys(layers_after_gelu(network, images[:1]), dobi_one_sided) if dobi == "paper" else {}
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [images], Collection(activation, None, rules=one_sided))
    return insert_quantizers(network, plan, bounds, minmax if dobi == "none" else dobi_two_sided)


def dqc_stage(
    student: Network, teacher: Network, calibration: CalibrationSet, config: TwoDQuant, progress: Progress | None
) -> None:
    """Stage 2, DQC: distillation quantization calibration of all bounds, in place."""
    last = config.learning_rate if config.schedule == "constant" else 0.0
    relative, betas = config.rates == "relative", (0.9, config.beta2)
    plan = Iterations(config.iterations, config.learning_rate, last, relative, betas)
    different = epochs(config.iterations, config.batch, calibration.count, config.crops)
    with recorded(teacher, calibration.stream(config.batch, different)) as lessons:
        loss, guards = dqc_loss(config, student, next(iter(lessons))), Guards(student, NARROWEST)
        report = counter(progress, "DQC", config.iterations)
        iterate(student, quantizers_of(student), lessons, plan, loss, guards, report)
    student.requires_grad_(False)


def dqc_loss(config: TwoDQuant, student: Network, lesson: Lesson) -> Loss:
    """Eq. 4 to 6: mean L1 plus lambda times feature loss, with norms per sample (the code mixes samples).

    Args:
        config: which terms, and lambda.
        student: before learning.
        lesson: lambda is chosen by the losses on it, where the config doesn't give one.
    """
    if config.loss == "output_only" or not lesson.features:
        return lambda output, features, lesson: output_loss(output, lesson.output)
    if config.feature_weight is not None:
        return distillation(config.feature_weight * len(lesson.features))
    with torch.no_grad(), features_of(student) as features:
        output = output_loss(student(lesson.images), lesson.output)
        ratio = float(output / feature_loss(features.take(), lesson.features).clamp(min=1e-12))
    return distillation(FIRST_RATIO * ratio)


def quantizers_of(student: Network) -> Iterable[Quantizer]:
    """The quantizers of all activations and weights; their bounds learn."""
    return [*activation_quantizers(student).values(), *(q.weight_quantizer for q in quant_layers(student).values())]
