"""Run one 3x3 convolution of codes with one configuration."""

from dataclasses import dataclass
from typing import Any

import triton
from torch import Tensor

from srquant.deploy.triton.kernels.by_rows import by_rows
from srquant.deploy.triton.kernels.by_tiles import by_tiles
from srquant.deploy.triton.kernels.configurations import Configuration

MOST_CHANNELS = 64
"""Of a block."""


@dataclass(frozen=True)
class NextGrid:
    """The grid on which the next layer wants the values.

    Attributes:
        lower: first point, float32 per channel, padded.
        step: or its inverse where ``multiply``; the same shape.
        last: largest code.
        shift: subtracted from the codes.
        multiply: multiply by the inverse of the step, which is exact for values on the lattice, instead of dividing.
    """

    lower: Tensor
    step: Tensor
    last: int
    shift: int
    multiply: bool


@dataclass(frozen=True)
class SumGrid:
    """The grid on which values are put.

    Attributes:
        numbers: first point, step, zero point, offset; float32.
        last: largest code.
    """

    numbers: Tensor
    last: int


@dataclass(frozen=True)
class Operands:
    """What a convolution reads and writes; channels are padded to ``padded_channels``.

    Attributes:
        source: int8 ``N x H x W x C_in``, codes minus a shift.
        weight: int8 ``9 x C_out x C_in``.
        first_sum: int32 ``C_out``, where sums start: what the shift and the zero point add.
        padded: int8 ``C_in``, codes of padded zeros.
        zero_padded: whether these are all zero, which is faster.
        scale: float32 ``C_out``.
        bias: float32 ``C_out``.
        residual: float32 ``N x channels x H x W``, channels last; added to the result, if there is one.
        values: the same shape, written, if there is one.
        codes: int8 ``N x H x W x C_out``, written, if there is one.
        channels: output channels before padding.
        relu: whether negative values become zero, after the sum.
        sum_grid: on which values are put; None: they stay as they are.
        next_grid: of ``codes``.
    """

    source: Tensor
    weight: Tensor
    first_sum: Tensor
    padded: Tensor
    zero_padded: bool
    scale: Tensor
    bias: Tensor
    residual: Tensor | None
    values: Tensor | None
    codes: Tensor | None
    channels: int
    relu: bool
    sum_grid: SumGrid | None
    next_grid: NextGrid | None


def launch(operands: Operands, configuration: Configuration) -> None:
    """Compute ``values`` and ``codes``; products and sums are not fused, as they aren't in PyTorch."""
    o, c = operands, configuration
    pictures, height, width, c_in = o.source.shape
    c_out = o.weight.shape[1]
    block_n = min(MOST_CHANNELS, c_out)
    blocks = pictures * triton.cdiv(height, c.rows) * triton.cdiv(width, c.columns), c_out // block_n
    kernel: Any = by_rows if c.by_rows else by_tiles
    kernel[blocks](
        o.source,
        o.weight,
        o.first_sum,
        o.padded,
        height,
        width,
        o.scale,
        o.bias,
        o.residual,
        o.values,
        o.codes,
        None if o.sum_grid is None else o.sum_grid.numbers,
        None if o.next_grid is None else o.next_grid.lower,
        None if o.next_grid is None else o.next_grid.step,
        ZERO_PADDED=o.zero_padded,
        C_IN=c_in,
        C_OUT=c_out,
        C_VALUES=o.channels,
        RELU=o.relu,
        SUM_LAST=0 if o.sum_grid is None else o.sum_grid.last,
        LAST=0 if o.next_grid is None else o.next_grid.last,
        SHIFT=0 if o.next_grid is None else o.next_grid.shift,
        MULTIPLY=o.next_grid is not None and o.next_grid.multiply,
        BLOCK_H=c.rows,
        BLOCK_W=c.columns,
        BLOCK_N=block_n,
        BLOCK_K=min(MOST_CHANNELS, c_in),
        num_warps=c.warps,
        num_stages=c.stages,
        enable_fp_fusion=False,
    )
