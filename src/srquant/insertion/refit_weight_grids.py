"""Weight grids that follow the weights in training: bounds by a rule, found anew after every step, not learned."""

import torch
from torch import Tensor

from srquant.grids.range_rules import Bounds, Rule, quantile, separate_bounds
from srquant.models.network import Network
from srquant.quantizers.layers import QuantLayer, quant_layers, scaled_weight


@torch.no_grad()
def follow_weights(network: Network, rule: Rule) -> None:
    """Bounds of all weight grids as the rule finds them for the present weights."""
    for layer in quant_layers(network).values():
        follow_weight(layer, rule)


@torch.no_grad()
def follow_weight(layer: QuantLayer, rule: Rule) -> None:
    """Bounds of one layer's weight grid as the rule finds them."""
    quantizer = layer.weight_quantizer
    weight = scaled_weight(layer.weight, layer.input_quantizer)
    rows = weight.flatten(1) if quantizer.upper.dim() else weight.reshape(1, -1)
    lower, upper = (bound.reshape(quantizer.upper.shape) for bound in separate_bounds(*rule(rows, quantizer.levels)))
    if quantizer.lower is not None:
        quantizer.lower.copy_(lower)
    quantizer.upper.copy_(upper)


def signed_max(rows: Tensor, levels: int) -> Bounds:
    """Two bounds whose grid is ``{-n..n} * max / n`` and, where levels are even, one code that is never used."""
    largest = rows.abs().amax(1)
    n = (levels - 1) // 2
    return (n + 1 - levels) * largest / n, largest


def with_integer_zero(share: float) -> Rule:
    """Percentiles moved by less than half a step, so that zero is a grid point (the ``asym99`` of DDTB for 0.01)."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        lower, upper = separate_bounds(quantile(rows, share).clamp(max=0), quantile(rows, 1 - share).clamp(min=0))
        step = (upper - lower) / (levels - 1)
        whole = (lower / step).round() * step
        return whole, whole + (upper - lower)

    return rule


def largest_but(share: float) -> Rule:
    """The quantile of magnitudes that leaves ``share`` of them above, to both sides."""

    def rule(rows: Tensor, levels: int) -> Bounds:
        largest = quantile(rows.abs(), 1 - share)
        return -largest, largest

    return rule
