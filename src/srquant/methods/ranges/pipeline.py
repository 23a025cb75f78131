"""The steps that all range methods share: statistics, quantizers, optional finetuning, settling."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import RECIPES, Progress, finetune
from srquant.grids.range_rules import Momentum, Rule
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import Policy
from srquant.insertion.quantized_model import OptionValue, Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.options import text_of
from srquant.models.network import Network
from srquant.weight_rounding.choose import Rounding, round_weights

BATCH = 16
"""Crops per batch of statistics, as in the papers."""

Recipe = Literal["none", "together", "squares", "weights", "published"]
"""How the bounds are finetuned; none: not at all."""

FINETUNE = (
    "finetune the bounds: all together, to the smallest squared error, those of weights only, "
    "or as published for the baselines"
)
MOMENTUM = "weight of earlier batches in the moving average of activation bounds"


@dataclass(frozen=True)
class Ranges:
    """How a range method finds bounds.

    Attributes:
        activation: rule for activations.
        weight: rule for weights.
        momentum: of the moving average over batches; None takes the outermost bounds.
        picture: rule for the inputs of the first layers, outermost over batches and with black and white; None for the
            rule of all others.
        batch: crops per batch of statistics.
        rounding: of weights, after finetuning.
    """

    activation: Rule
    weight: Rule
    momentum: Momentum
    picture: Rule | None = None
    batch: int = BATCH
    rounding: Rounding = "nearest"


def quantize_by_ranges(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    ranges: Ranges,
    recipe: Recipe,
    origin: Origin,
    progress: Progress | None,
) -> QuantizedModel:
    """Find ranges in the float network, insert quantizers, finetune their bounds if asked, round weights, settle."""
    student = insert_by_ranges(network, calibration, resolve(network, policy), ranges)
    if recipe != "none":
        finetune(student, network, calibration, RECIPES[recipe](), progress)
    round_weights(student, network, calibration.batches(ranges.batch), ranges.rounding)
    settle(student)
    return QuantizedModel(student, policy, origin)


def insert_by_ranges(network: Network, calibration: CalibrationSet, plan: QuantizationPlan, ranges: Ranges) -> Network:
    """A quantized copy of the float network with the bounds that the rules find, not settled."""
    collect = Collection(ranges.activation, ranges.momentum, ranges.picture)
    bounds = activation_bounds(network, plan, calibration.batches(ranges.batch), collect)
    return insert_quantizers(network, plan, bounds, ranges.weight)


def origin_of(method: str, config: Any, calibration: CalibrationSet | None = None) -> Origin:
    """Method, options, calibration set and threads of a network, for its file; ``config`` is the method's dataclass.

    Without a calibration set the fingerprint stays empty; the training loop fills it in.
    """
    options: dict[str, OptionValue] = {
        name: text_of(value) if isinstance(value, tuple) else value for name, value in asdict(config).items()
    }
    fingerprint = "" if calibration is None else calibration.fingerprint()
    return Origin(method, options, fingerprint, torch.get_num_threads())
