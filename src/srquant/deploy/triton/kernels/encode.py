"""Quantize the values of a network to the codes of its next convolution."""

from typing import Any

import torch
import triton
from torch import Tensor

from srquant.deploy.triton.available import interpreted
from srquant.deploy.triton.kernels.to_codes import encode_kernel

PIXELS, INTERPRETED_PIXELS = 64, 4096
"""Of a block, on a GPU and in Triton's interpreter."""

CHANNELS = 32
"""Of a block."""


def encode(x: Tensor, lower: Tensor, step: Tensor, levels: int, shift: int) -> Tensor:
    """``N x C x H x W`` values to int8 ``N x H x W x padded C``, codes minus ``shift``.

    Args:
        x: float32; copied unless channels last.
        lower: first grid point per channel, padded.
        step: the same shape.
        levels: 3..256.
        shift: 0 or 128.
    """
    values = x.permute(0, 2, 3, 1).contiguous()
    codes = torch.empty(*values.shape[:3], len(lower), dtype=torch.int8, device=x.device)
    pixels, block = codes.shape[:3].numel(), INTERPRETED_PIXELS if interpreted() else PIXELS
    kernel: Any = encode_kernel
    kernel[triton.cdiv(pixels, block), len(lower) // CHANNELS](
        values,
        codes,
        lower,
        step,
        pixels,
        CHANNELS=x.shape[1],
        PADDED=len(lower),
        LAST=levels - 1,
        SHIFT=shift,
        BLOCK=block,
        BLOCK_C=CHANNELS,
    )
    return codes
