"""Codes of 2 to 8 bits, packed without gaps.

The codes follow each other, lowest bit first, and fill bytes from their lowest bit. Three 3-bit codes 1, 2, 7:

    bits of the stream   1 0 0  0 1 0  1 1 1
    bytes                11 010 001 (0xd1), 1 (0x01)
"""

import numpy as np
import torch
from torch import Tensor


def packed_size(count: int, bits: int) -> int:
    """Bytes that ``count`` codes take."""
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
