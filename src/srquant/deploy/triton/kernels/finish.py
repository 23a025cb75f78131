"""What follows the integer sums of a convolution: scale, bias, residual sum, ReLU, and the next layer's codes."""

import triton
import triton.language as tl

from srquant.deploy.triton.kernels.to_codes import ROUNDING, to_codes


@triton.jit
def finish(
    sums,
    pixels,
    inside,
    channels,
    scale,
    bias,
    residual,
    values,
    codes,
    sum_grid,
    lower,
    step,
    C_VALUES: tl.constexpr,
    C_CODES: tl.constexpr,
    RELU: tl.constexpr,
    SUM_LAST: tl.constexpr,
    LAST: tl.constexpr,
    SHIFT: tl.constexpr,
    MULTIPLY: tl.constexpr,
):
    """Write the values and codes of a block of pixels and channels.

    Args:
        sums: int32 ``pixels x channels``.
        pixels: int64, index of each pixel in the batch.
        inside: whether each pixel is in the picture.
        channels: index of each output channel.
        scale: float32 per output channel.
        bias: float32 per output channel.
        residual: float32 ``pixels x C_VALUES``, added; or None.
        values: float32 ``pixels x C_VALUES``, written; or None.
        codes: int8 ``pixels x C_CODES``, written; or None.
        sum_grid: first point, step, zero point and offset of the grid for values, float32; or None.
        lower: first point of the next layer's grid, float32 per channel; or None.
        step: of the next layer's grid, or its inverse if ``MULTIPLY``.
        C_VALUES: number of output channels.
        C_CODES: the same, padded.
        RELU: whether negative values become zero.
        SUM_LAST: largest code of ``sum_grid``.
        LAST: largest code of the next layer's grid.
        SHIFT: subtracted from codes, so that they fit into int8.
        MULTIPLY: multiply by the inverse of the step instead of dividing.
    """
    value = sums.to(tl.float32) * tl.load(scale + channels)[None, :] + tl.load(bias + channels)[None, :]
    place = pixels[:, None] * C_VALUES + channels[None, :]
    exists = inside[:, None] & (channels < C_VALUES)[None, :]
    if residual is not None:
        value = tl.load(residual + place, mask=exists, other=0.0) + value
    if RELU:
        value = tl.maximum(value, 0.0)
    if sum_grid is not None:
        position = tl.div_rn(value - tl.load(sum_grid), tl.load(sum_grid + 1) + tl.zeros_like(value))
        position = tl.minimum(tl.maximum(position, 0.0), SUM_LAST)
        code = (position + ROUNDING) - ROUNDING
        value = (code - tl.load(sum_grid + 2)) * tl.load(sum_grid + 1) + tl.load(sum_grid + 3)
    if values is not None:
        tl.store(values + place, value, mask=exists)
    if codes is not None:
        code = to_codes(value, tl.load(lower + channels), tl.load(step + channels), LAST, SHIFT, MULTIPLY)
        there = pixels[:, None] * C_CODES + channels[None, :]
        tl.store(codes + there, code, mask=inside[:, None] & (channels < C_CODES)[None, :])
