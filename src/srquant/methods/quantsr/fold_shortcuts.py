"""Fold the factors ``s`` of the shortcuts into the layers, so that a deployed block is ``x + branch(x)`` again.

In training, block ``i`` computes ``y' = s y + branch(y)``. Let ``p`` be the product of the factors of all blocks before
it, and ``z = y / p``. Then the same block computes ``z' = z + branch(p z) / (p s)``, and a skipped block doesn't change
``z``. So:

- bounds and ``tau`` of a block's first quantizer are divided by ``p``, and its weight is multiplied by ``p``;
- weight and bias of a block's last layer are divided by ``p s``;
- the layer after the blocks multiplies its input by the product of all factors, which is the same at every depth.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from srquant.errors import PolicyError
from srquant.models.network import Network
from srquant.quantizers.layers import QuantLayer, bounded_quantizer

SMALLEST = 1e-3
"""Factors nearer to zero are refused: the shortcut would pass almost nothing."""

Layer = nn.Conv2d | nn.Linear | QuantLayer


@torch.no_grad()
def fold_shortcuts(network: Network, factors: Mapping[str, float]) -> None:
    """Remove the factors of all shortcuts, in place.

    Args:
        network: float, or quantized and not settled.
        factors: of each block in ``network.facts.blocks``, in order.

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
    """Layers of a module that are inside no other layer, in order; the module itself if it is a layer."""
    if isinstance(module, Layer):
        return [module]
    return [layer for child in module.children() for layer in layers_of(child)]


def scale_input(layer: Layer, factor: float) -> None:
    """Change a layer, in place, so that it computes from ``factor * x`` what it computed from ``x``."""
    if isinstance(layer, QuantLayer):
        bounded_quantizer(layer).scale(factor)
    scale_weight(layer, 1 / factor)


def scale_output(layer: Layer, factor: float) -> None:
    """Multiply a layer's output by a factor, in place."""
    scale_weight(layer, factor)
    bias: Tensor | None = layer_of(layer).bias
    if bias is not None:
        bias.mul_(factor)


def scale_weight(layer: Layer, factor: float) -> None:
    """Multiply the weight and its grid by a factor, in place."""
    layer_of(layer).weight.mul_(factor)
    if isinstance(layer, QuantLayer):
        layer.weight_quantizer.scale(factor)


def layer_of(layer: Layer) -> nn.Conv2d | nn.Linear:
    """The layer that holds weight and bias."""
    return layer.layer if isinstance(layer, QuantLayer) else layer
