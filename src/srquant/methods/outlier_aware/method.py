"""Outlier-aware quantization (ICCV 2025, arXiv 2511.00682).

Calibration phase of Algorithm 1:
1. PLQ: the float network runs on batches of 16 crops: smallest value, largest value and 99 % quantile of each
   activation, moving average 0.9. The quantile is the breakpoint between the dense and the sparse part of the grid.
   Weights: from minus to plus the largest magnitude.
2. Sensitivity of each block: softmax over the blocks of the standard deviation of their outputs (Eq. 4). The paper
   speaks of layers: ``features=layers``.

Fine-tuning phase:
3. SAFT: 10 epochs of batches of 2, Adam at 1e-3, in turn for weight bounds, activation bounds and breakpoints. Loss:
   distance of normalised features, weighted by sensitivity, + 5 * L1 of pictures (Eq. 5-7). VFT weights all blocks
   equally.

Activations of 8 bits, by default the first layer's and the tail's, keep a uniform grid; so do sums and the matmuls of
attention. The released code uses twice as many codes (``levels=code``).

Names in the paper and here::

    PLQ, R1, R2 (Eq. 3)     quantizers.plq.PLQuantizer, its regions
    l_a, u_a, bp            PLQuantizer.lower, upper, breakpoint
    Perc_99, beta           OutlierAware.percentile, OutlierAware.momentum
    u_w                     WeightQuantizer.upper
    sigma(x_k)              feature_deviations
    s_k (Eq. 4)             sensitivity
    SAFT, VFT               saft, with finetune=vft for VFT
    L_sen (Eq. 6)           sensitivity_loss
    L_all, lambda (Eq. 7)   saft_loss, OutlierAware.output_weight
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Literal

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.devices import full_float32
from srquant.distillation.features import features_of
from srquant.distillation.lessons import Lesson, recorded
from srquant.distillation.loop import Guards, Loss, Rate, adam, bound_rates, decay, rate_of, train_pass
from srquant.distillation.losses import WHITE, normalised, output_loss
from srquant.distillation.recipes import Progress, counter
from srquant.errors import PolicyError
from srquant.grids.range_rules import Bounds, Rule, minmax, quantile, symmetric_max, symmetric_mse
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.options import option
from srquant.methods.ranges.pipeline import MOMENTUM, Ranges, insert_by_ranges, origin_of
from srquant.models.network import Network, modules_of, on_device_of
from srquant.quantizers.layers import activation_quantizers, bounded_quantizer, quant_layers
from srquant.quantizers.plq import PLQ_BITS, Budget, PLQuantizer

STATISTICS = 16
"""Crops per batch of statistics."""

UNIFORM_BITS = 8
"""Activations with as many bits keep a uniform grid."""


@dataclass(frozen=True)
class OutlierAware:
    """Options of ``outlier-aware``."""

    plq: bool = option(True, "PLQ: piecewise grids below 8 bits; false: uniform ones", "section 3.2, Table 4")
    levels: Budget = option(
        "paper", "points of a grid: 2^bits, or 2^(bits+1) as in the released code", "Eq. 3; released code"
    )
    percentile: float = option(0.99, "the first breakpoint is this quantile of an activation", "section 4.1", most=1)
    momentum: float = option(0.9, MOMENTUM, "section 4.1", most=1)
    weights: Literal["max", "omse"] = option(
        "max", "first bounds of weights: largest magnitude, or smallest squared error", "section 4.1; released code"
    )
    finetune: Literal["saft", "vft", "none"] = option(
        "saft",
        "finetuning: blocks weighted by sensitivity (SAFT), all equally (VFT), or none",
        "section 3.3, Table 4",
    )
    softmax: Literal["raw", "scaled"] = option(
        "raw",
        "sensitivity from the deviations as printed in the paper, or from the deviations divided by their mean",
        "Eq. 4; scaled is ours",
    )
    features: Literal["blocks", "layers"] = option(
        "blocks",
        "outputs whose sensitivities and distances count: those of residual blocks, or of every quantized layer as "
        "printed in the paper, which keeps several times as much on disk",
        "released code; Eq. 4 and 6",
    )
    output_weight: float = option(5.0, "lambda, weight of the L1 of pictures in 0..255 beside the features", "Eq. 7")
    epochs: int = option(10, "passes over the crops; weights, activations, breakpoints in turn", "section 4.1", least=1)
    batch: int = option(2, "crops per step of learning", "section 4.1", least=1)
    learning_rate: float = option(1e-3, "Adam's", "section 4.1")
    decay: float = option(0.9, "factor on a learning rate after each of its epochs", "section 4.1")
    rates: Literal["absolute", "relative"] = option(
        "absolute",
        "learning rates as given, or times each quantizer's range; absolute ones hardly move activations",
        "section 4.1; ours",
    )


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: OutlierAware,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Algorithm 1: calibration, then finetuning; arguments as ``srquant.methods.Quantize``."""
    student = calibrate(network, calibration, policy, config)
    if config.finetune != "none":
        saft(student, network, calibration, config, progress)
    settle(student)
    return QuantizedModel(student, policy, origin_of("outlier-aware", config, calibration))


def calibrate(network: Network, calibration: CalibrationSet, policy: Policy, config: OutlierAware) -> Network:
    """Calibration phase (section 3.2): a quantized copy of the float network; all statistics are the float one's."""
    if config.plq:
        check_granularity(policy)
    plan = resolve(network, policy)
    if config.plq:
        check_bits(plan)
    weight_rule = symmetric_max if config.weights == "max" else symmetric_mse
    student = insert_by_ranges(network, calibration, plan, Ranges(minmax, weight_rule, config.momentum))
    if config.plq:
        collect = Collection(breakpoint_rule(config.percentile), config.momentum)
        breakpoints = activation_bounds(network, plan, calibration.batches(STATISTICS), collect)
        for name, layer in quant_layers(student).items():
            grid = bounded_quantizer(layer)
            if grid.bits < UNIFORM_BITS:
                bounds = grid.lower, breakpoints[name][0], grid.upper
                layer.input_quantizer = PLQuantizer(*bounds, grid.bits, config.levels)
    return student


def check_granularity(policy: Policy) -> None:
    """Raise a ``PolicyError`` where activation grids are to be per channel: piecewise grids are per tensor."""
    if policy.activation_granularity != "tensor":
        raise PolicyError("piecewise grids per channel: outlier-aware has one per tensor; use plq=false or 'tensor'")


def check_bits(plan: QuantizationPlan) -> None:
    """Raise a ``PolicyError`` where an activation has too few bits for a piecewise grid."""
    coarse = [name for name, bits in plan.layers.items() if bits.activation < PLQ_BITS[0]]
    if coarse:
        raise PolicyError(
            f"2 bits for the activations of layer '{coarse[0]}' (of {len(coarse)} in all): piecewise grids begin at "
            f"{PLQ_BITS[0]}; use {PLQ_BITS[0]} or more activation bits there, or --set plq=false"
        )


def breakpoint_rule(share: float) -> Rule:
    """A rule that gives the quantile ``share`` of the signed values as both bounds."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        breakpoint = quantile(rows, share)
        return breakpoint, breakpoint

    return rule


@torch.no_grad()
@full_float32()
def feature_deviations(network: Network, batches: Iterable[Tensor]) -> Tensor:
    """Standard deviation of each feature in the float network, mean over pictures; one value per feature.

    Where a feature has several parts of a picture one after another, as windows of attention, the mean over them.
    """
    found = []
    with features_of(network.eval()) as features:
        for images in on_device_of(network, batches):
            network(images)
            parts = [feature.flatten(1).std(1) for feature in features.take()]
            found.append(torch.stack([deviations.view(len(images), -1).mean(1) for deviations in parts]))
    return torch.cat(found, dim=1).mean(1)


def sensitivity(deviations: Tensor, softmax: Literal["raw", "scaled"]) -> Tensor:
    """``s_k`` of each feature (Eq. 4), sum 1; scaled: the deviations are divided by their mean first."""
    return torch.softmax(deviations / deviations.mean() if softmax == "scaled" else deviations, 0)


def saft(
    student: Network, teacher: Network, calibration: CalibrationSet, config: OutlierAware, progress: Progress | None
) -> None:
    """Fine-tuning phase (section 3.4): one group of parameters learns per epoch, in place; weights and biases stay.

    SAFT, or VFT if the config says so.
    """
    if config.features == "layers":
        names = tuple(quant_layers(student))
        student, teacher = with_features(student, names), with_features(teacher, names)
    loss, guards = saft_loss(config, teacher, calibration), Guards(student)
    optimizers = [adam(rates) for rates in groups(student, config) if rates]
    with recorded(teacher, calibration.batches(config.batch)) as lessons:
        for epoch, optimizer in enumerate(islice(cycle(optimizers), config.epochs), 1):
            report = counter(progress, f"epoch {epoch}/{config.epochs}", len(lessons))
            train_pass(student, lessons, optimizer, loss, guards, report)
            decay(optimizer, config.decay)
    student.requires_grad_(False)


def with_features(network: Network, names: tuple[str, ...]) -> Network:
    """The same modules, with the outputs of those named as features."""
    return Network(network.module, replace(network.facts, features=names))


def groups(student: Network, config: OutlierAware) -> list[list[Rate]]:
    """Weight bounds, activation bounds, breakpoints, in the order of the epochs."""
    rate, relative = config.learning_rate, config.rates == "relative"
    weights = [layer.weight_quantizer for layer in quant_layers(student).values()]
    activations = list(activation_quantizers(student).values())
    return [
        bound_rates(weights, rate, relative),
        [Rate([q.lower, q.upper], rate_of(q, rate, relative)) for q in activations],
        [Rate([q.breakpoint], rate_of(q, rate, relative)) for q in modules_of(student, PLQuantizer).values()],
    ]


def saft_loss(config: OutlierAware, teacher: Network, calibration: CalibrationSet) -> Loss:
    """``L_all`` (Eq. 5-7); for VFT every ``s_k`` is ``1 / K``. Without known features only the output loss."""
    s: Tensor | None = None
    if teacher.facts.features and config.finetune == "saft":
        s = sensitivity(feature_deviations(teacher, calibration.batches(STATISTICS)), config.softmax)

    def loss(output: Tensor, features: list[Tensor], lesson: Lesson) -> Tensor:
        total = config.output_weight * WHITE * output_loss(output, lesson.output)
        if not lesson.features:
            return total
        equal = output.new_full((len(features),), 1 / len(features))
        return total + sensitivity_loss(features, lesson.features, equal if s is None else s)

    return loss


def sensitivity_loss(student: list[Tensor], teacher: list[Tensor], s: Tensor) -> Tensor:
    """``L_sen`` (Eq. 6): mean over features of ``s_k`` times the distance of normalised features, mean over samples.

    Args:
        student: features, ``N x ...`` each.
        teacher: the same, normalised already.
        s: one value per feature.
    """
    pairs = zip(student, teacher, strict=True)
    squares = torch.stack([(normalised(f_q) - f).square().flatten(1).sum(1) for f_q, f in pairs])
    distances = squares.clamp(min=1e-12).sqrt().mean(1)
    return (s * distances).mean()
