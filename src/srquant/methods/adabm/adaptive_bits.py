"""Activation bits that depend on the picture and are learned per layer: base + picture + layer (AdaBM Eq. 2).

This is the form in which bits are learned; ``branches`` turns it into plain quantized networks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.grids.picture_density import gradient_density
from srquant.grids.straight_through import straight_through
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import bounded_quantizer, quant_layers


@dataclass
class PictureBits:
    """What the pictures in work add to the bits, ``N`` whole numbers; one object that all adaptive layers see."""

    bits: Tensor


class AdaptiveQuantizer(ActivationQuantizer):
    """An activation quantizer with ``base + picture + layer`` bits, kept within 2..8.

    Args:
        plain: its bounds and base bits.
        pictures: what the pictures in work add; None for nothing.

    Attributes:
        layer_factor: 0-d; clamped to -1..1 and rounded it is what the layer adds.
    """

    def __init__(self, plain: ActivationQuantizer, pictures: PictureBits | None) -> None:
        super().__init__(plain.lower, plain.upper, plain.bits)
        self.pictures = pictures
        self.layer_factor = nn.Parameter(torch.zeros(()))

    def layer_bits(self) -> Tensor:
        """What the layer adds: -1, 0 or 1; the gradient is that of tanh (AdaBM section 3.2)."""
        return straight_through(self.layer_factor.clamp(-1, 1).round(), self.layer_factor.tanh())

    def current_bits(self) -> Tensor:
        """Bits for the pictures in work: ``N``, or 0-d where pictures add nothing."""
        bits = self.bits + self.layer_bits()
        if self.pictures is not None:
            bits = bits + self.pictures.bits
        return bits.clamp(FEWEST_BITS, MOST_BITS)

    def forward(self, x: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points; the first axis holds the pictures, or equally many parts of each in a row."""
        bits = self.current_bits() if bits is None else bits
        if bits.dim() == 1:
            bits = bits.repeat_interleave(len(x) // len(bits)).view(-1, *[1] * (x.dim() - 1))
        return super().forward(x, bits)

    def deployable(self) -> ActivationQuantizer:
        """The quantizer of pictures that add nothing."""
        return self.of_pictures(0)

    def of_pictures(self, picture_bits: int) -> ActivationQuantizer:
        """The quantizer of pictures that add ``picture_bits``."""
        bits = self.bits + int(self.layer_bits().item()) + picture_bits
        return ActivationQuantizer(self.lower, self.upper, min(max(bits, FEWEST_BITS), MOST_BITS))


class DensityThresholds(nn.Module):
    """Gradient density to bits: -1 below ``lower``, +1 above ``upper``, else 0 (AdaBM section 3.1).

    Args:
        lower: 0-d, in units of ``gradient_density``.
        upper: 0-d, at least ``lower``.
    """

    def __init__(self, lower: Tensor, upper: Tensor) -> None:
        super().__init__()
        self.lower = nn.Parameter(lower.detach().clone())
        self.upper = nn.Parameter(upper.detach().clone())

    def forward(self, density: Tensor) -> Tensor:
        """``N`` densities to ``N`` of -1, 0, 1; the gradient is that of tanh across the interval."""
        hard = (density > self.upper).float() - (density < self.lower).float()
        position = (density - (self.upper + self.lower) / 2) * 2 / (self.upper - self.lower)
        return straight_through(hard, position.tanh())


class AdaptiveNetwork(Network):
    """A network whose adaptive layers take their bits from the gradient density of each picture.

    Args:
        network: with ``AdaptiveQuantizer`` layers that share ``pictures``.
        thresholds: from density to bits.
        pictures: where the bits of the pictures in work are put.
    """

    def __init__(self, network: Network, thresholds: DensityThresholds, pictures: PictureBits) -> None:
        super().__init__(network.module, network.facts)
        self.thresholds = thresholds
        self.pictures = pictures

    def forward(self, images: Tensor) -> Tensor:
        """Upscale, as ``Network``."""
        self.pictures.bits = self.thresholds(gradient_density(images))
        return super().forward(images)


def make_adaptive(network: Network, layers: Iterable[str], pictures: PictureBits | None) -> None:
    """Replace the input quantizers of the named layers, in place."""
    quantized = quant_layers(network)
    for name in layers:
        quantized[name].input_quantizer = AdaptiveQuantizer(bounded_quantizer(quantized[name]), pictures)


def adaptive_quantizers(network: Network) -> dict[str, AdaptiveQuantizer]:
    """The adaptive quantizers by the name of their layer, in module order."""
    quantizers = {name: layer.input_quantizer for name, layer in quant_layers(network).items()}
    return {name: q for name, q in quantizers.items() if isinstance(q, AdaptiveQuantizer)}


def mean_bits(network: Network) -> Tensor:
    """Mean activation bits over the pictures in work and all layers but 8-bit ones, 0-d, differentiable.

    An adaptive layer counts whatever its bits.
    """
    quantizers = [layer.input_quantizer for layer in quant_layers(network).values()]
    adaptive = [q.current_bits().mean() for q in quantizers if isinstance(q, AdaptiveQuantizer)]
    plain = [torch.tensor(float(q.bits)) for q in quantizers if not isinstance(q, AdaptiveQuantizer)]
    return torch.stack([*adaptive, *(bits for bits in plain if bits < MOST_BITS)]).mean()
