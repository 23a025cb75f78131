"""Weight bits that depend on the layer: ``b_base + b_L`` as for activations (AdaBM* in GBA's tables).

GBA's paper doesn't say how AdaBM* chooses these bits. Here they start as those of activations do (AdaBM Eq. 4), with
the standard deviation of the weight as the sensitivity of the layer, and are learned with the other bits.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.methods.adabm.layer_to_bit import LayerToBit, first_layer_bits
from srquant.models.network import Network, modules_of
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.integer_weight import weight_levels
from srquant.quantizers.layers import quant_layers


class AdaptiveWeightQuantizer(WeightQuantizer):
    """A weight quantizer with ``b_base + b_L`` bits, clamped to 2..8.

    Args:
        plain: has the bounds.
        b_base: base bits.
        b_l: first ``b_L``: -1, 0 or 1.

    Attributes:
        layer_to_bit: gives ``b_L``.
    """

    def __init__(self, plain: WeightQuantizer, b_base: int, b_l: int) -> None:
        lower = -plain.upper if plain.lower is None else plain.lower
        super().__init__(lower, plain.upper, b_base, plain.symmetric)
        self.layer_to_bit = LayerToBit()
        self.layer_to_bit.factor.data.fill_(b_l)

    def current_bits(self) -> Tensor:
        """Bits, 0-d, differentiable in the factor of ``layer_to_bit``."""
        bits: Tensor = self.bits + self.layer_to_bit()
        return bits.clamp(FEWEST_BITS, MOST_BITS)

    @property
    def levels(self) -> int:
        """Number of grid points at the current bits."""
        return weight_levels(int(self.current_bits().item()))

    def forward(self, weight: Tensor, bits: Tensor | None = None) -> Tensor:
        """Values to grid points, shape of the weight; differentiable in ``b_L`` while that is learned."""
        if bits is None and self.layer_to_bit.factor.requires_grad:
            bits = self.current_bits()
        return super().forward(weight, bits)

    def deployable(self, weight: Tensor) -> WeightQuantizer:
        """The quantizer with the current bits."""
        lower = -self.upper if self.lower is None else self.lower
        return WeightQuantizer(lower, self.upper, int(self.current_bits().item()), self.symmetric)


def first_weight_bits(network: Network, layers: Sequence[str], share: float) -> dict[str, int]:
    """First ``b_L`` of the weights of a float network's layers, as ``first_layer_bits``."""
    first = first_layer_bits(weight_sensitivities(network, layers), share)
    return {name: int(b_l) for name, b_l in zip(layers, first, strict=True)}


def weight_sensitivities(network: Network, layers: Sequence[str]) -> Tensor:
    """Standard deviation of the weight of each layer of a float network, ``K`` values."""
    return torch.stack([network.module.get_parameter(f"{name}.weight").detach().std() for name in layers])


def make_weights_adaptive(network: Network, b_base: int, first: Mapping[str, int]) -> None:
    """Replace the weight quantizers of the layers in ``first`` by adaptive ones, in place; ``first`` gives ``b_L``."""
    layers = quant_layers(network)
    for name, b_l in first.items():
        layers[name].weight_quantizer = AdaptiveWeightQuantizer(layers[name].weight_quantizer, b_base, b_l)


def adaptive_weights(network: Network) -> dict[str, AdaptiveWeightQuantizer]:
    """The adaptive weight quantizers of a network, in module order."""
    return modules_of(network, AdaptiveWeightQuantizer)


def weight_bits_above_base(network: Network) -> Tensor:
    """How far the mean bits of the adaptive weights are above the base, at least 0; 0-d, differentiable."""
    above = [quantizer.current_bits() - quantizer.bits for quantizer in adaptive_weights(network).values()]
    return torch.stack(above).mean().relu() if above else torch.zeros(())
