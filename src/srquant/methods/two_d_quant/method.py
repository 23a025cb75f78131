"""2DQuant (Liu et al., NeurIPS 2024): two bounds for each weight and activation, searched, then distilled.

1. DOBI: the float network runs on 32 crops at once. For each tensor, weights too, 100 ranges are tried and the one of
   smallest squared error is kept. Bell-shaped values: both ends move; values with one tail (attention map, after GELU):
   the upper end moves.
2. DQC: all bounds learn from the float network, 3000 iterations of 32 crops, Adam, cosine from 1e-2 to 0:
   L1 of pictures + lambda * squared distance of normalised features, summed over blocks.

Attention: queries, keys and values get a layer each; linear layers and both matmuls are quantized, convolutions not.
The last iterate is kept; paper and code keep the best one on Set5 (``validate=Set5``), which needs true pictures.
The released code moves both ends everywhere (``dobi=code``), and its feature loss vanishes (``loss=output_only``). That
of the paper is too small to matter as well (``loss=printed``); the default, ``full``, repairs both.

Names in the paper and here::

    DOBI (Alg. 1)               dobi_stage; dobi.dobi_two_sided, dobi_one_sided
    K (Alg. 1)                  dobi.CANDIDATES
    DQC (section 3.3)           dqc_stage
    l_i, u_i (all quantizers)   quantizers_of, lower and upper of each
    L, L_O, L_F (Eq. 4 to 6)    dqc_loss, output_loss, printed_feature_loss; repaired: feature_loss
    lambda                      TwoDQuant.feature_weight
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.distillation.features import features_of
from srquant.distillation.iterations import Iterations, epochs, iterate
from srquant.distillation.lessons import FreshLessons, Lesson, recorded
from srquant.distillation.loop import Guards, Loss, Quantizer
from srquant.distillation.losses import feature_loss, output_loss, squared_distance
from srquant.distillation.recipes import Progress, counter, distillation
from srquant.errors import PolicyError
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
from srquant.methods.two_d_quant.selection import BestIterate, label
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
    loss: Literal["full", "output_only", "printed"] = option(
        "full",
        "with squared distances of features; without features, which is the effect of the code's scaling; or with "
        "Eq. 5 as printed: distances not squared, divided by the features' sizes",
        "ours, repairs Eq. 5; released code; Eq. 5",
    )
    feature_weight: float | None = option(
        None,
        "lambda; none: the feature loss starts at half of the output loss, with loss=printed lambda is 1",
        "ours; released code: 5",
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
    fresh: bool = option(
        False, "new crops in every step; the teacher runs in every step, nothing is kept on disk", "ours; paper: true"
    )
    validate: str | None = option(
        None,
        "folder of a benchmark set, whose true pictures (ground truth) choose the iterate; none: the last one is kept",
        "ours; paper and code: Set5",
    )
    validate_every: int = option(100, "steps between two measurements on that set", "code", least=1)

    def __post_init__(self) -> None:
        replace_aliases(self)
        if self.validate is not None and not self.dqc:
            raise PolicyError("validate chooses among the iterates of DQC: leave validate out, or dqc=false")


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
    truth = None if config.validate is None else BenchmarkSet(Path(config.validate), network.facts.scale)
    student = dobi_stage(network, calibration, policy, config.dobi)
    if config.dqc:
        dqc_stage(student, network, calibration, config, progress, truth)
    round_weights(student, network, calibration.batches(STATISTICS), config.rounding)
    settle(student)
    if config.validate is not None:
        config = replace(config, validate=label(config.validate))
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
    student: Network,
    teacher: Network,
    calibration: CalibrationSet,
    config: TwoDQuant,
    progress: Progress | None,
    truth: BenchmarkSet | None = None,
) -> None:
    """Stage 2, DQC: distillation quantization calibration of all bounds, in place.

    Args:
        student: after DOBI.
        teacher: the float network.
        calibration: low-resolution crops.
        config: the method's options.
        progress: called after every step.
        truth: its true pictures choose the iterate that is kept; None: the last one.
    """
    last = config.learning_rate if config.schedule == "constant" else 0.0
    relative, betas = config.rates == "relative", (0.9, config.beta2)
    plan = Iterations(config.iterations, config.learning_rate, last, relative, betas)
    quantizers, guards = quantizers_of(student), Guards(student, NARROWEST)
    best = None if truth is None else best_iterate(student, truth, config)
    report = counter(progress, "DQC", config.iterations)

    def after_step() -> None:
        guards()
        if best is not None:
            best()

    with lessons_of(teacher, calibration, config) as lessons:
        loss = dqc_loss(config, student, next(iter(lessons)))
        iterate(student, quantizers, lessons, plan, loss, after_step, report)
    student.requires_grad_(False)
    if best is not None:
        best.restore()


def best_iterate(student: Network, truth: BenchmarkSet, config: TwoDQuant) -> BestIterate:
    """Keeps the bounds of the iterate that is best on ``truth``."""
    bounds = [bound for quantizer in quantizers_of(student) for bound in quantizer.parameters()]
    return BestIterate(student, bounds, truth, config.validate_every, config.iterations)


@contextmanager
def lessons_of(teacher: Network, calibration: CalibrationSet, config: TwoDQuant) -> Iterator[Iterable[Lesson]]:
    """Lessons of at most ``crops`` crops of each picture, recorded; or of new crops in every step."""
    most = config.iterations * config.batch if config.fresh else config.crops
    different = epochs(config.iterations, config.batch, calibration.count, most)
    if config.fresh:
        yield FreshLessons(teacher.eval(), lambda: calibration.stream(config.batch, different))
    else:
        with recorded(teacher, calibration.stream(config.batch, different)) as lessons:
            yield lessons


def dqc_loss(config: TwoDQuant, student: Network, lesson: Lesson) -> Loss:
    """Eq. 4 to 6: mean L1 plus lambda times feature loss, with norms per sample (the code mixes samples).

    ``full`` has squared distances instead of those of Eq. 5: a repair of the paper's text as well as of the code.

    Args:
        config: which terms, and lambda.
        student: before learning.
        lesson: lambda is chosen by the losses on it, where the config doesn't give one.
    """
    if config.loss == "output_only" or not lesson.features:
        return lambda output, features, lesson: output_loss(output, lesson.output)
    if config.loss == "printed":
        weight = 1.0 if config.feature_weight is None else config.feature_weight
        return distillation(weight, feature_distance=printed_feature_loss)
    if config.feature_weight is not None:
        return distillation(config.feature_weight * len(lesson.features))
    with torch.no_grad(), features_of(student) as features:
        output = output_loss(student(lesson.images), lesson.output)
        ratio = float(output / feature_loss(features.take(), lesson.features).clamp(min=1e-12))
    return distillation(FIRST_RATIO * ratio)


def printed_feature_loss(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """Eq. 5 as printed: L2 distance of normalised features, divided by ``C H W``; sum over modules, mean over samples.

    Args:
        student: features, ``N x ...`` each.
        teacher: features that are normalised already, same shapes.
    """
    squares = ((squared_distance(s, t).clamp(min=1e-12), s[0].numel()) for s, t in zip(student, teacher, strict=True))
    return torch.stack([(square.sqrt() / size).mean() for square, size in squares]).sum()


def quantizers_of(student: Network) -> Iterable[Quantizer]:
    """The quantizers of all activations and weights; their bounds learn."""
    return [*activation_quantizers(student).values(), *(q.weight_quantizer for q in quant_layers(student).values())]
