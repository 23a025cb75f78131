"""The ideas of the published methods, each added to ``distill``: which of them still help when weights learn?"""

from collections.abc import Iterable
from typing import Literal

import torch

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import recorded
from srquant.distillation.loop import Rate
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.plan import QuantizationPlan
from srquant.methods.adabm.adaptive_bits import AdaptiveNetwork, PictureBits, make_adaptive
from srquant.methods.adabm.image_to_bit import I2BCalibration, ImageToBit
from srquant.methods.adabm.initialise import start_layer_bits
from srquant.methods.adabm.layer_to_bit import LayerToBit, layer_sensitivities
from srquant.methods.adabm.options import AdaBM
from srquant.methods.gba import method as gba
from srquant.methods.outlier_aware.method import STATISTICS, UNIFORM_BITS, breakpoint_rule
from srquant.methods.ranges.pipeline import BATCH
from srquant.models.network import Network, modules_of
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import QuantLayer, bounded_quantizer, quant_layers
from srquant.quantizers.plq import PLQuantizer
from srquant.quantizers.shifted import ShiftedQuantizer

Idea = Literal["none", "bits", "dan", "plq", "shifts", "branches"]
"""GBA's bits of layers from gradients; its dynamic ranges; outlier-aware's piecewise grids; QuantSR's learned shift of
each channel; AdaBM's bits by picture and layer, which don't learn here."""

FEWEST: dict[Idea, int] = {"bits": 3, "plq": 3, "branches": 4}
"""Fewest bits at which an idea is defined; 2 where nothing is said."""

BREAKPOINT = 0.99
"""Quantile of the breakpoint, as outlier-aware's default."""


def plan_with(idea: Idea, plan: QuantizationPlan, network: Network, calibration: CalibrationSet) -> QuantizationPlan:
    """The plan with GBA's bits, for activations and weights, if that is the idea; else as it is."""
    if idea != "bits":
        return plan
    config = gba.GBA(mixed="both", dan_stages=None, ranges="mse")
    body = gba.body_of(plan, config)
    with recorded(network, calibration.batches(config.allocation_batch)) as lessons:
        for group in gba.MIXED[config.mixed]:
            bounds = gba.initialise_bounds(network, calibration, plan, config)
            plan = gba.allocate(group, body, network, plan, bounds, lessons, config, None)
    return plan


def add_idea(
    idea: Idea, student: Network, plan: QuantizationPlan, network: Network, calibration: CalibrationSet
) -> Network:
    """Replace the grids of activations, in place, if the idea is a kind of grid; returns the network that learns."""
    if idea == "branches":
        return with_branches(student, plan, network, calibration)
    layers = quant_layers(student)
    if idea == "dan":
        for layer in layers.values():
            layer.input_quantizer = DANQuantizer(layer.input_quantizer.bits, layer.channel_axis)
    elif idea == "plq":
        collect = Collection(breakpoint_rule(BREAKPOINT), 0.9)
        breakpoints = activation_bounds(network, plan, calibration.batches(STATISTICS), collect)
        for name, layer in layers.items():
            grid = bounded_quantizer(layer)
            if grid.bits < UNIFORM_BITS:
                bounds = grid.lower, breakpoints[name][0], grid.upper
                layer.input_quantizer = PLQuantizer(*bounds, grid.bits, "paper")
    elif idea == "shifts":
        for layer in layers.values():
            if layer.input_quantizer.bits < UNIFORM_BITS:
                layer.input_quantizer = shifted(layer)
    return student


def with_branches(
    student: Network, plan: QuantizationPlan, network: Network, calibration: CalibrationSet
) -> AdaptiveNetwork:
    """AdaBM's bits by picture and layer as they are before its finetuning; the mean over both is the base."""
    config, pictures = AdaBM(), PictureBits(torch.zeros(1))
    i2b = I2BCalibration(config.image_percentile / 100, config.momentum)
    with layer_sensitivities(network, plan.body) as sensitivities, torch.no_grad():
        for images in i2b.watching(calibration.batches(BATCH)):
            network(images)
    make_adaptive(student, plan.body, pictures)
    start_layer_bits(student, sensitivities, config.layer_percentile / 100)
    return AdaptiveNetwork(student, i2b.image_to_bit(), pictures)


def without_bit_mappings(rates: Iterable[Rate], student: Network) -> list[Rate]:
    """The rates without those of AdaBM's bits, which would only grow: the loss has no price for them."""
    mappings = (*modules_of(student, LayerToBit).values(), *modules_of(student, ImageToBit).values())
    fixed = {id(parameter) for mapping in mappings for parameter in mapping.parameters()}
    left = [Rate([value for value in rate.parameters if id(value) not in fixed], rate.learning_rate) for rate in rates]
    return [rate for rate in left if rate.parameters]


def shifted(layer: QuantLayer) -> ActivationQuantizer:
    """The layer's grid, moved so that zero is a point, behind a shift of each channel that begins at zero."""
    grid = bounded_quantizer(layer)
    step = grid.step().detach()
    lower = (grid.lower.detach() / step).round() * step
    shape = (-1, 1, 1) if layer.channel_axis == 1 else (-1,)
    shift = lower.new_zeros(layer.channels).reshape(shape)
    return ShiftedQuantizer(lower, lower + (grid.levels - 1) * step, grid.bits, shift)
