"""BaC, bit-aware clipping: activation bounds that fit the bits of their layer (AdaBM section 3.5)."""

import torch
from torch import Tensor

from srquant.devices import full_float32
from srquant.grids.range_rules import shrink
from srquant.grids.uniform import MOST_BITS
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import quant_layers


@torch.no_grad()
@full_float32()
def apply_bac(network: Network, images: Tensor, kept: float = 0.0) -> None:
    """Shrink the activation bounds of every layer below 8 bits to those of smallest squared error, in place.

    Layers are clipped in the order in which they run, so that inputs carry the error of the layers before.

    Args:
        network: quantized, with grids per tensor, not settled.
        images: ``N x 3 x H x W`` in [0, 1].
        kept: 0..1, weight of the bounds as they were in the result: 0 replaces them, 0.5 goes half of the way.
    """
    layers = {name: layer for name, layer in quant_layers(network).items() if layer.input_quantizer.bits < MOST_BITS}
    clipped: set[ActivationQuantizer] = set()

    def clip(name: str, inputs: tuple[Tensor, ...]) -> None:
        quantizer = layers[name].input_quantizer
        assert isinstance(quantizer, ActivationQuantizer)  # AdaBM starts from ranges, so all have bounds
        if quantizer not in clipped:
            clipped.add(quantizer)
            bac_bounds(quantizer, inputs[0], kept)

    with watch_inputs(layers, clip):
        network(images)


def bac_bounds(quantizer: ActivationQuantizer, x: Tensor, kept: float) -> None:
    """Multiply both bounds by the ``epsilon`` in 1.00, 0.99 .. 0.01 of smallest squared error (AdaBM Eq. 5), in place.

    Args:
        quantizer: its bits are ``b_base + b_L``.
        x: its input, any shape.
        kept: as ``apply_bac``.
    """
    levels = quantizer.deployable().levels
    bounds = quantizer.lower, quantizer.upper
    lower, upper = shrink(x.reshape(1, -1), levels, (bounds[0].reshape(1), bounds[1].reshape(1)))
    for bound, best in zip(bounds, (lower[0], upper[0]), strict=True):
        bound.copy_(torch.lerp(best, bound, kept))
