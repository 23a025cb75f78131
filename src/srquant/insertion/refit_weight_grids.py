"""Refit the bounds of weight grids to the trained weights by a rule, in methods that don't learn these bounds."""

import torch
from torch import Tensor

from srquant.grids.range_rules import Bounds, Rule, quantile, separate_bounds
from srquant.models.network import Network
from srquant.quantizers.layers import QuantLayer, quant_layers, scaled_weight


@torch.no_grad()
def refit_weight_grids(network: Network, rule: Rule) -> None:
    """Set the bounds of all weight grids to those that ``rule`` computes from the current weights, in place."""
    for layer in quant_layers(network).values():
        refit_weight_grid(layer, rule)


@torch.no_grad()
def refit_weight_grid(layer: QuantLayer, rule: Rule) -> None:
    """Set the bounds of one layer's weight grid to those that ``rule`` computes from its current weight, in place."""
    quantizer = layer.weight_quantizer
    weight = scaled_weight(layer.weight, layer.input_quantizer)
    rows = weight.flatten(1) if quantizer.upper.dim() else weight.reshape(1, -1)
    lower, upper = (bound.reshape(quantizer.upper.shape) for bound in separate_bounds(*rule(rows, quantizer.levels)))
    if quantizer.lower is not None:
        quantizer.lower.copy_(lower)
    quantizer.upper.copy_(upper)


def signed_max(rows: Tensor, levels: int) -> Bounds:
    """The rule for the grid ``{-n..n} * max|W| / n``; even ``levels`` add point ``-n - 1``, which no weight reaches.

    Args:
        rows: ``R x V``.
        levels: of the grid; ``n = (levels - 1) // 2``.
    """
    largest = rows.abs().amax(1)
    n = (levels - 1) // 2
    return (n + 1 - levels) * largest / n, largest


def percentile_with_zero(share: float) -> Rule:
    """The rule that clips ``share`` of the weights on each side and has a grid point at zero; 0.01: DDTB's ``asym99``.

    The bounds are percentiles of the weights, both shifted by at most half a step so that a grid point lies at zero.
    """

    def rule(rows: Tensor, levels: int) -> Bounds:
        lower, upper = separate_bounds(quantile(rows, share).clamp(max=0), quantile(rows, 1 - share).clamp(min=0))
        step = (upper - lower) / (levels - 1)
        whole = (lower / step).round() * step
        return whole, whole + (upper - lower)

    return rule


def symmetric_percentile(share: float) -> Rule:
    """The rule whose bounds are plus and minus a magnitude that ``share`` of all magnitudes exceed."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        largest = quantile(rows.abs(), 1 - share)
        return -largest, largest

    return rule
