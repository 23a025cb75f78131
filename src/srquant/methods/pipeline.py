"""What all range methods share: statistics, quantizers, optional finetuning, settling."""

from srquant.data.calibration import CalibrationSet
from srquant.models.network import Network
from srquant.quant.insert import insert_quantizers
from srquant.quant.lattice import settle
from srquant.quant.model import Option, Origin, QuantizedModel
from srquant.quant.policy import Policy
from srquant.quant.ranges import Rule
from srquant.quant.statistics import Collection, activation_bounds
from srquant.training.finetune import Finetune, Progress, finetune

BATCH = 16
"""Crops per batch of statistics, as in the papers."""


def quantize_by_ranges(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    activation_rule: Rule,
    weight_rule: Rule,
    momentum: float | None,
    recipe: Finetune | None,
    origin: Origin,
    progress: Progress | None,
    picture_rule: Rule | None = None,
) -> QuantizedModel:
    """Find ranges in the float network, insert quantizers, finetune their bounds if asked, settle them.

    ``picture_rule`` finds the outermost ranges of the first layers' inputs, where they differ from the others.
    """
    collect = Collection(activation_rule, momentum, picture_rule)
    bounds = activation_bounds(network, policy, calibration.batches(BATCH), collect)
    student = insert_quantizers(network, policy, bounds, weight_rule)
    if recipe is not None:
        finetune(student, network, calibration, recipe, progress)
    settle(student)
    return QuantizedModel(student, policy, origin)


def origin_of(method: str, calibration: CalibrationSet, recipe: Finetune | None, options: dict[str, Option]) -> Origin:
    """How a network was quantized, for its file."""
    passes = 0 if recipe is None else len(recipe.stages)
    return Origin(method, {**options, "finetune_passes": passes}, calibration.fingerprint())
