"""Factors of shortcuts go into the layers around them, so that a deployed block is ``x + branch(x)`` again.

With the stream ``y' = s y + branch(y)`` and ``z = y / p``, ``p`` the product of the factors so far, blocks compute
``z' = z + branch(p z) / (p s)``. A block that is skipped does nothing to ``z``. So bounds and shift of what a block
reads are divided by ``p``, the weights of its last layer by ``p s``, and what reads the last block takes the product
of all factors, at every depth the same.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import QuantConv2d, QuantLinear, bounded_quantizer
from srquant.quantizers.shifted import ShiftedQuantizer

SMALLEST = 1e-3
"""Factors nearer to zero would leave nothing of the picture."""

Layer = nn.Conv2d | nn.Linear | QuantConv2d | QuantLinear


@torch.no_grad()
def fold_shortcuts(network: Network, factors: Mapping[str, float]) -> None:
    """Make shortcuts plain ones, in place.

    Args:
        network: float, or quantized and not settled.
        factors: of each block in ``network.facts.blocks``.

    Raises:
        PolicyError: a factor is nearly zero.
    """
    if all(factor == 1.0 for factor in factors.values()):
        return
    assert network.facts.behind_blocks is not None
    product = 1.0
    for name, factor in factors.items():
        if abs(factor) < SMALLEST:
            raise PolicyError(f"the shortcut of {name!r} has the factor {factor:.2g}; train with a lower learning rate")
        first, *_, last = layers_of(network.module.get_submodule(name))
        scale_input(first, 1 / product)
        product *= factor
        scale_output(last, 1 / product)
    (behind,) = layers_of(network.module.get_submodule(network.facts.behind_blocks))
    scale_input(behind, 1 / product)


def layers_of(module: nn.Module) -> list[Layer]:
    """Outermost layers in a module, in its order; itself if it is one."""
    if isinstance(module, Layer):
        return [module]
    return [layer for child in module.children() for layer in layers_of(child)]


def scale_input(layer: Layer, factor: float) -> None:
    """Let a layer compute from ``factor * x`` what it computed from ``x``, in place."""
    if isinstance(layer, QuantConv2d | QuantLinear):
        quantizer = bounded_quantizer(layer)
        stretch(quantizer, factor)
        if isinstance(quantizer, ShiftedQuantizer):
            quantizer.shift.mul_(factor)
    scale_weight(layer, 1 / factor)


def scale_output(layer: Layer, factor: float) -> None:
    """Multiply what a layer computes, in place."""
    scale_weight(layer, factor)
    bias: Tensor | None = plain(layer).bias
    if bias is not None:
        bias.mul_(factor)


def scale_weight(layer: Layer, factor: float) -> None:
    """Multiply the weight and its grid, in place."""
    plain(layer).weight.mul_(factor)
    if isinstance(layer, QuantConv2d | QuantLinear):
        stretch(layer.weight_quantizer, factor)


def plain(layer: Layer) -> nn.Conv2d | nn.Linear:
    """The layer that holds weight and bias."""
    return layer.layer if isinstance(layer, QuantConv2d | QuantLinear) else layer


def stretch(quantizer: ActivationQuantizer | WeightQuantizer, factor: float) -> None:
    """Multiply bounds; those of a negative factor change places."""
    if quantizer.lower is None:
        quantizer.upper.mul_(abs(factor))
        return
    lower, upper = quantizer.lower * factor, quantizer.upper * factor
    quantizer.lower.copy_(torch.minimum(lower, upper))
    quantizer.upper.copy_(torch.maximum(lower, upper))
