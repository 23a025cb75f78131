"""Activation bits that depend on picture and layer: ``b_base + b_I + b_L`` (AdaBM Eq. 2).

In this form the bits are learned; ``branches`` turns it into plain quantized networks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.grids.picture_density import gradient_density
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.methods.adabm.image_to_bit import ImageToBit
from srquant.methods.adabm.layer_to_bit import LayerToBit
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import bounded_quantizer, quant_layers


@dataclass
class PictureBits:
    """``b_I`` of the current batch, ``N`` whole numbers, float; all adaptive layers share one such object."""

    bits: Tensor


class AdaptiveQuantizer(ActivationQuantizer):
    """An activation quantizer with ``b_base + b_I + b_L`` bits, clamped to 2..8.

    Args:
        plain: has the bounds and the base bits.
        pictures: ``b_I`` of the current batch; None where bits don't depend on the picture.

    Attributes:
        layer_to_bit: gives ``b_L``.
    """

    def __init__(self, plain: ActivationQuantizer, pictures: PictureBits | None) -> None:
        super().__init__(plain.lower, plain.upper, plain.bits)
        self.pictures = pictures
        self.layer_to_bit = LayerToBit().to(self.lower.device)

    def current_bits(self) -> Tensor:
        """Bits for the current batch: ``N``, or 0-d where they don't depend on the picture."""
        bits: Tensor = self.bits + self.layer_to_bit()
        if self.pictures is not None:
            bits = bits + self.pictures.bits
        return bits.clamp(FEWEST_BITS, MOST_BITS)

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points; the first axis holds the pictures, or equally many parts of each one after another."""
        bits = self.current_bits() if bits is None else bits
        if bits.dim() == 1:
            bits = bits.repeat_interleave(len(x) // len(bits)).view(-1, *[1] * (x.dim() - 1))
        return super().forward(x, bits)

    def deployable(self) -> ActivationQuantizer:
        """The static quantizer for pictures of middle density, ``b_I`` 0."""
        return self.of_pictures(0)

    def of_pictures(self, b_i: int) -> ActivationQuantizer:
        """The static quantizer for pictures with this ``b_I``."""
        bits = self.bits + int(self.layer_to_bit().item()) + b_i
        return ActivationQuantizer(self.lower, self.upper, min(max(bits, FEWEST_BITS), MOST_BITS))


class AdaptiveNetwork(Network):
    """A network whose adaptive layers take ``b_I`` from the gradient density of each picture.

    Args:
        network: has ``AdaptiveQuantizer`` layers that share ``pictures``.
        image_to_bit: maps densities to ``b_I``.
        pictures: where ``b_I`` of the current batch is stored.
    """

    def __init__(self, network: Network, image_to_bit: ImageToBit, pictures: PictureBits) -> None:
        super().__init__(network.module, network.facts)
        self.image_to_bit = image_to_bit
        self.pictures = pictures

    def forward(self, images: Tensor) -> Tensor:
        """Upscale, as ``Network``."""
        self.pictures.bits = self.image_to_bit(gradient_density(images))
        return super().forward(images)


def make_adaptive(network: Network, layers: Iterable[str], pictures: PictureBits | None) -> None:
    """Replace the input quantizers of the named layers by adaptive ones, in place."""
    quantized = quant_layers(network)
    for name in layers:
        quantized[name].input_quantizer = AdaptiveQuantizer(bounded_quantizer(quantized[name]), pictures)


def adaptive_quantizers(network: Network) -> dict[str, AdaptiveQuantizer]:
    """The adaptive quantizers by the name of their layer, in module order."""
    quantizers = {name: layer.input_quantizer for name, layer in quant_layers(network).items()}
    return {name: q for name, q in quantizers.items() if isinstance(q, AdaptiveQuantizer)}  # the only ones with b_L


def mean_bits(network: Network) -> Tensor:
    """Mean activation bits over the current batch and the layers, 0-d, differentiable.

    All adaptive layers count, and of the others those below 8 bits.
    """
    adaptive = adaptive_quantizers(network)
    fixed = [layer.input_quantizer.bits for name, layer in quant_layers(network).items() if name not in adaptive]
    learned = [quantizer.current_bits().mean() for quantizer in adaptive.values()]
    below = [learned[0].new_tensor(float(bits)) for bits in fixed if bits < MOST_BITS]
    return torch.stack([*learned, *below]).mean()
