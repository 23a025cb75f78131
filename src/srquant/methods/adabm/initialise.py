"""AdaBM's initialization phase: min-max, OMSE, I2B, L2B and BaC, from one pass over the crops and one batch."""

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor

from srquant.data.calibration import CalibrationSet
from srquant.errors import PolicyError
from srquant.grids.range_rules import Bounds, Rule, minmax, shrink, symmetric_mse
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import QuantizationPlan
from srquant.insertion.policy import LayerBits
from srquant.methods.adabm.adaptive_bits import AdaptiveNetwork, PictureBits, adaptive_quantizers, make_adaptive
from srquant.methods.adabm.adaptive_weights import first_weight_bits, make_weights_adaptive
from srquant.methods.adabm.bit_aware_clipping import apply_bac
from srquant.methods.adabm.image_to_bit import I2BCalibration
from srquant.methods.adabm.layer_to_bit import first_layer_bits, layer_sensitivities
from srquant.methods.adabm.options import AdaBM
from srquant.methods.ranges.pipeline import BATCH
from srquant.models.network import Network, device_of, on_device_of
from srquant.quantizers.integer_weight import weight_levels

SMALLEST_FACTOR = 51
"""The released code searches weight bounds down to this percentage of the first ones."""


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
        start_layer_bits(student, sensitivities, share)
    return student if pictures is None else AdaptiveNetwork(student, i2b.image_to_bit(), pictures)


def start_layer_bits(student: Network, sensitivities: Mapping[str, list[float]], share: float) -> None:
    """Give the adaptive layers their first ``b_L``, in place; arguments from ``layer_sensitivities``, and p_L."""
    s = torch.tensor([sum(of_batches) / len(of_batches) for of_batches in sensitivities.values()])
    for quantizer, b_l in zip(adaptive_quantizers(student).values(), first_layer_bits(s, share), strict=True):
        quantizer.layer_to_bit.factor.data.copy_(b_l)


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
