"""Bits that are really spent: log2 of the codes that occur, not of the codes that a method says it has."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srquant.evaluate.costs import EIGHT, FLOAT_BITS
from srquant.quant.conditional import ConditionalQuantizer

LARGEST_CODE = 255
"""Codes of activations lie in -255..255, the zero point subtracted."""

Seen = dict[str, list[Tensor]]
"""By layer: for each call which codes occurred, ``511`` booleans."""


@dataclass(frozen=True)
class CodesUsed:
    """How many codes a quantized layer spends, beside the bits that it is said to have.

    Attributes:
        name: of the layer.
        activation_bits: as the method says; the mean over pictures where they depend on the picture.
        weight_bits: as the method says.
        activation_codes: different integers that reach the layer, one number per picture where its grid depends on
            the picture, else one for all pictures.
        weight_codes: different integers in its weight.
    """

    name: str
    activation_bits: float
    weight_bits: float
    activation_codes: tuple[int, ...]
    weight_codes: int

    @property
    def effective_activation_bits(self) -> float:
        """Mean of log2 of the activation codes."""
        return sum(math.log2(codes) for codes in self.activation_codes) / len(self.activation_codes)

    @property
    def effective_weight_bits(self) -> float:
        """Log2 of the weight codes."""
        return math.log2(self.weight_codes)

    @property
    def overspends(self) -> bool:
        """Whether more codes occur than the bits have."""
        return (
            self.effective_activation_bits > self.activation_bits + 1e-6
            or self.effective_weight_bits > self.weight_bits + 1e-6
        )


@contextmanager
def watched(quantizers: Mapping[str, nn.Module]) -> Iterator[Seen]:
    """Note the codes that modules return while pictures go through their network.

    Args:
        quantizers: by layer, what returns its integer input: whole numbers in -255..255, any shape; or a conditional
            quantizer, which is asked for its codes.
    """
    seen: Seen = {name: [] for name in quantizers}

    def watch(name: str, quantizer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def see(_: nn.Module, inputs: tuple[Tensor, ...], codes: Tensor) -> None:
            codes = quantizer.codes(*inputs) if isinstance(quantizer, ConditionalQuantizer) else codes
            positions = codes.detach().flatten().to(torch.int64) + LARGEST_CODE
            seen[name].append(torch.bincount(positions, minlength=2 * LARGEST_CODE + 1) > 0)

        return quantizer.register_forward_hook(see)

    handles = [watch(name, quantizer) for name, quantizer in quantizers.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def counted(pictures: Sequence[Tensor], by_picture: bool) -> tuple[int, ...]:
    """Codes of one layer: per picture where its grid depends on it, else in all pictures together.

    Args:
        pictures: which codes occurred in each, ``511`` booleans.
        by_picture: whether the grid depends on the picture.
    """
    rows = torch.stack(list(pictures))
    return tuple(rows.sum(1).tolist()) if by_picture else (int(rows.any(0).sum()),)


def low_bit(layers: Sequence[CodesUsed]) -> list[CodesUsed]:
    """The layers that FAB counts: all but the 8-bit ones, which remain where there is no other."""
    return [layer for layer in layers if layer.activation_bits not in (EIGHT, FLOAT_BITS)] or list(layers)


def mean_effective_bits(layers: Sequence[CodesUsed]) -> tuple[float, float]:
    """Means of effective activation and weight bits over the low-bit layers; at least one layer."""
    low = low_bit(layers)
    return (
        sum(layer.effective_activation_bits for layer in low) / len(low),
        sum(layer.effective_weight_bits for layer in low) / len(low),
    )
