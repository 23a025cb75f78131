"""The ideas of the published methods, each added to ``distill``: which of them still help when weights learn?"""

from typing import Literal

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import recorded
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.plan import QuantizationPlan
from srquant.methods.gba import method as gba
from srquant.methods.outlier_aware.method import STATISTICS, UNIFORM_BITS, breakpoint_rule
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import QuantLayer, bounded_quantizer, quant_layers
from srquant.quantizers.plq import PLQuantizer
from srquant.quantizers.shifted import ShiftedQuantizer

Idea = Literal["none", "bits", "dan", "plq", "shifts"]
"""GBA's bits of layers from gradients; its dynamic ranges; outlier-aware's piecewise grids; QuantSR's learned shift of
each channel."""

FEWEST: dict[Idea, int] = {"bits": 3, "plq": 3}
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
) -> None:
    """Replace the grids of activations, in place, if the idea is a kind of grid."""
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


def shifted(layer: QuantLayer) -> ActivationQuantizer:
    """The layer's grid, moved so that zero is a point, behind a shift of each channel that begins at zero."""
    grid = bounded_quantizer(layer)
    step = grid.step().detach()
    lower = (grid.lower.detach() / step).round() * step
    shape = (-1, 1, 1) if layer.channel_axis == 1 else (-1,)
    shift = lower.new_zeros(layer.channels).reshape(shape)
    return ShiftedQuantizer(lower, lower + (grid.levels - 1) * step, grid.bits, shift)
