"""Effective bits: log2 of the number of codes that occur, beside the nominal bits that a method states."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from srquant.models.hooks import watch_inputs

LARGEST_CODE = 255
"""Codes of activations lie in -255..255, the zero point subtracted."""

CodesSeen = dict[str, list[Tensor]]
"""By layer: for each call which codes occurred, ``511`` booleans."""


@dataclass(frozen=True)
class CodesUsed:
    """How many codes a quantized layer, or an operand of a matrix product, uses, and its nominal bits.

    Attributes:
        name: of the layer or operand.
        activation_bits: nominal; the mean over pictures where they depend on the picture.
        weight_bits: nominal; None for an operand.
        weight_codes: different integers in its weight; None for an operand.
        activation_codes: different integers that reach the layer, one number per picture where its grid depends on
            the picture, else one for all pictures.
    """

    name: str
    activation_bits: float
    weight_bits: int | None
    weight_codes: int | None
    activation_codes: tuple[int, ...]

    @property
    def effective_activation_bits(self) -> float:
        """Mean of log2 of the activation codes."""
        return sum(math.log2(codes) for codes in self.activation_codes) / len(self.activation_codes)

    @property
    def effective_weight_bits(self) -> float | None:
        """Log2 of the weight codes."""
        return None if self.weight_codes is None else math.log2(self.weight_codes)

    @property
    def exceeds_bits(self) -> bool:
        """Whether more codes occur than the nominal bits can hold."""
        return _above(self.effective_activation_bits, self.activation_bits) or _above(
            self.effective_weight_bits, self.weight_bits
        )

    def to_json(self) -> dict[str, object]:
        """Nominal and effective bits for ``json.dumps``; null for weights of an operand."""
        return {
            "name": self.name,
            "activation_bits": self.activation_bits,
            "weight_bits": self.weight_bits,
            "effective_activation_bits": self.effective_activation_bits,
            "effective_weight_bits": self.effective_weight_bits,
        }


def _above(effective: float | None, bits: float | None) -> bool:
    return effective is not None and bits is not None and effective > bits + 1e-6


@contextmanager
def record_codes(quantizers: Mapping[str, nn.Module]) -> Iterator[CodesSeen]:
    """Record which codes occur at the input of modules while their network runs on pictures.

    Args:
        quantizers: by layer, the module whose method ``codes`` gives the codes of its input: integers in -255..255.
    """
    seen: CodesSeen = {name: [] for name in quantizers}

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        quantizer: Any = quantizers[name]
        positions = quantizer.codes(*inputs).detach().flatten().to(torch.int64) + LARGEST_CODE
        seen[name].append(torch.bincount(positions, minlength=2 * LARGEST_CODE + 1) > 0)

    with watch_inputs(quantizers, see):
        yield seen


def count_codes(pictures: Sequence[Tensor], by_picture: bool) -> tuple[int, ...]:
    """Number of codes of one layer: per picture where its grid depends on the picture, else over all pictures together.

    Args:
        pictures: which codes occurred in each, ``511`` booleans.
        by_picture: whether the grid depends on the picture.
    """
    rows = torch.stack(list(pictures))
    return tuple(rows.sum(1).tolist()) if by_picture else (int(rows.any(0).sum()),)


def mean_effective_bits(layers: Sequence[CodesUsed], ends: Collection[str]) -> tuple[float, float | None]:
    """Means of effective activation and weight bits over the layers that FAB counts: all but head and tail.

    Args:
        layers: all of a network; at least one.
        ends: names of head and tail; they count only where there is no other layer.

    Returns:
        The second is None where no layer has weights.
    """
    inside = [layer for layer in layers if layer.name not in ends] or layers
    weights = [bits for bits in (layer.effective_weight_bits for layer in inside) if bits is not None]
    return fmean(layer.effective_activation_bits for layer in inside), fmean(weights) if weights else None
