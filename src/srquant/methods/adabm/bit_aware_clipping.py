"""Bit-aware clipping: ranges that fit the bits of their layer (AdaBM Eq. 5)."""

import torch
from torch import Tensor

from srquant.grids.range_rules import shrink
from srquant.grids.uniform import MOST_BITS
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import QuantLayer, quant_layers


@torch.no_grad()
def clip_to_bits(network: Network, images: Tensor, kept: float = 0.0) -> None:
    """Shrink the activation bounds of every layer below 8 bits to the smallest error, in place.

    Layers are clipped in the order of computation, on inputs that carry the error of the layers before.

    Args:
        network: quantized, with grids per tensor, not settled.
        images: ``N x 3 x H x W`` in [0, 1].
        kept: share of the way back to the bounds as they were.
    """
    layers = {name: layer for name, layer in quant_layers(network).items() if low_bit(layer)}
    clipped: set[ActivationQuantizer] = set()

    def clip(name: str, inputs: tuple[Tensor, ...]) -> None:
        quantizer = layers[name].input_quantizer
        assert isinstance(quantizer, ActivationQuantizer)
        if quantizer not in clipped:
            clipped.add(quantizer)
            clip_quantizer(quantizer, inputs[0], kept)

    with watch_inputs(layers, clip):
        network(images)


def clip_quantizer(quantizer: ActivationQuantizer, x: Tensor, kept: float) -> None:
    """Both bounds times the factor 1.00, 0.99 .. 0.01 of the smallest squared error, ``kept`` of the way back."""
    levels = quantizer.deployable().levels
    bounds = quantizer.lower, quantizer.upper
    lower, upper = shrink(x.reshape(1, -1), levels, (bounds[0].reshape(1), bounds[1].reshape(1)))
    for bound, best in zip(bounds, (lower[0], upper[0]), strict=True):
        bound.copy_(torch.lerp(best, bound, kept))


def low_bit(layer: QuantLayer) -> bool:
    """Whether a layer's input has fewer than 8 bits."""
    return layer.input_quantizer.bits < MOST_BITS
