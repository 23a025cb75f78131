"""A weight tensor as integers, and how a file packs it.

Codes of 2 to 8 bits follow each other without gaps, lowest bit first, and fill bytes from their lowest bit. Three 3-bit
codes 1, 2, 7:

    bits of the stream   1 0 0  0 1 0  1 1 1
    bytes                11 010 001 (0xd1), 1 (0x01)
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from srquant.errors import QuantizedFileError
from srquant.quantizers.stored import StoredTensors

LARGEST_INTEGER = 127
"""Weights of the integer engines lie in -127..127."""


def weight_levels(bits: int) -> int:
    """Points of a weight grid: ``2**bits``, at 8 bits 255 so that -127..127 hold them."""
    return min(1 << bits, 2 * LARGEST_INTEGER + 1)


@dataclass(frozen=True)
class IntegerWeight:
    """A weight tensor on its grid: ``scale * (multiplier * codes + shift)``.

    Attributes:
        codes: uint8 in 0..levels-1, shape of the weight.
        scale: float32 ``C_out``.
        multiplier: int16 ``C_out``.
        shift: int16 ``C_out``; ``multiplier * codes + shift`` lies in -127..127.
    """

    codes: Tensor
    scale: Tensor
    multiplier: Tensor
    shift: Tensor

    def integers(self) -> Tensor:
        """int8 weights of the integer engines, shape of the weight."""
        return (self._per_row(self.multiplier) * self.codes + self._per_row(self.shift)).to(torch.int8)

    def values(self) -> Tensor:
        """The weights, float64: integers times scale."""
        return self.integers() * self._per_row(self.scale).double()

    def tensors(self, bits: int) -> dict[str, Tensor]:
        """For a file: packed ``codes``, and ``weight_grid``: scale, multiplier, shift, ``3 x C_out`` or 3 x 1."""
        grid = torch.stack([self.scale, self.multiplier.float(), self.shift.float()])
        alike = bool((grid == grid[:, :1]).all())
        return {"codes": pack(self.codes, bits), "weight_grid": grid[:, :1] if alike else grid}

    @classmethod
    def read(cls, tensors: StoredTensors, shape: tuple[int, ...], bits: int) -> "IntegerWeight":
        """From a file.

        Raises:
            QuantizedFileError: the weights are not integers, or beyond ±127.
        """
        rows, levels = shape[0], weight_levels(bits)
        packed = tensors.take("codes", torch.uint8, (packed_size(math.prod(shape), bits),))
        codes = unpack(packed, bits, shape)
        grid = tensors.take("weight_grid", torch.float32, (3, 1), (3, rows))
        scale, multiplier, shift = grid.expand(3, rows).contiguous()
        whole = torch.equal(grid[1:], grid[1:].round()) and int(codes.max()) < levels
        last = multiplier * (levels - 1) + shift
        if not whole or bool(((multiplier < 1) | (shift < -LARGEST_INTEGER) | (last > LARGEST_INTEGER)).any()):
            found = f"multiplier {multiplier[:4].tolist()}, shift {shift[:4].tolist()}, codes up to {int(codes.max())}"
            raise QuantizedFileError(f"layer {tensors.prefix[:-1]!r}: {found}: not integers in ±{LARGEST_INTEGER}")
        return cls(codes, scale, multiplier.to(torch.int16), shift.to(torch.int16))

    def _per_row(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (self.codes.dim() - 1))


def packed_size(count: int, bits: int) -> int:
    """Number of bytes of ``count`` packed codes."""
    return (count * bits + 7) // 8


def pack(codes: Tensor, bits: int) -> Tensor:
    """Codes in 0..2**bits-1 (uint8, any shape) to uint8 bytes, 1-d."""
    planes = (codes.numpy().reshape(-1, 1) >> np.arange(bits, dtype=np.uint8)) & 1
    return torch.from_numpy(np.packbits(planes.reshape(-1), bitorder="little"))


def unpack(packed: Tensor, bits: int, shape: tuple[int, ...]) -> Tensor:
    """The inverse of ``pack``; ``packed`` must hold exactly ``packed_size`` bytes."""
    count = int(np.prod(shape))
    planes = np.unpackbits(packed.numpy(), count=count * bits, bitorder="little").reshape(count, bits)
    values = (planes << np.arange(bits, dtype=np.uint8)).sum(1, dtype=np.uint8)
    return torch.from_numpy(values.reshape(shape))
