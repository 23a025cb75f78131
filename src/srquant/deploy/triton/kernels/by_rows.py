"""A convolution that walks down a strip of the picture, row by row.

A row of input codes is loaded once for each of the three columns of the window, and each loaded block is used for the
three output rows that it belongs to. So a code is loaded 3 times instead of 9, and the window's weights, which don't
change on the way, can stay in shared memory.
"""

import triton
import triton.language as tl

from srquant.deploy.triton.kernels.finish import finish


@triton.jit
def by_rows(
    source,
    weight,
    first_sum,
    padded,
    height,
    width,
    scale,
    bias,
    residual,
    values,
    codes,
    sum_grid,
    lower,
    step,
    ZERO_PADDED: tl.constexpr,
    C_IN: tl.constexpr,
    C_OUT: tl.constexpr,
    C_VALUES: tl.constexpr,
    RELU: tl.constexpr,
    SUM_LAST: tl.constexpr,
    LAST: tl.constexpr,
    SHIFT: tl.constexpr,
    MULTIPLY: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """Compute ``BLOCK_H`` rows of ``BLOCK_W`` pixels and ``BLOCK_N`` channels; arguments as ``conv3x3``."""
    across, down = tl.cdiv(width, BLOCK_W), tl.cdiv(height, BLOCK_H)
    block = tl.program_id(0)
    picture = (block // (across * down)).to(tl.int64)
    top = (block // across) % down * BLOCK_H
    columns = (block % across) * BLOCK_W + tl.arange(0, BLOCK_W)
    channels = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    start = tl.load(first_sum + channels)[None, :] + tl.zeros((BLOCK_W, BLOCK_N), tl.int32)
    above, here, below = start, start, start
    for row in range(top - 1, tl.minimum(top + BLOCK_H, height) + 1):
        pixels = (picture * height + row) * width + columns
        for right in tl.static_range(3):
            column = columns + (right - 1)
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            for k in tl.static_range(0, C_IN, BLOCK_K):
                place = (pixels + (right - 1))[:, None] * C_IN + (k + inner)[None, :]
                if ZERO_PADDED:
                    padding = 0
                else:
                    padding = tl.load(padded + k + inner)[None, :] + tl.zeros((BLOCK_W, BLOCK_K), tl.int8)
                block_of_codes = tl.load(source + place, mask=inside[:, None], other=padding)
                window = weight + (right * C_OUT + channels)[None, :] * C_IN + (k + inner)[:, None]
                above = tl.dot(block_of_codes, tl.load(window + 6 * C_OUT * C_IN), above, out_dtype=tl.int32)
                here = tl.dot(block_of_codes, tl.load(window + 3 * C_OUT * C_IN), here, out_dtype=tl.int32)
                below = tl.dot(block_of_codes, tl.load(window), below, out_dtype=tl.int32)
        if row > top:
            finish(
                above,
                pixels - width,
                columns < width,
                channels,
                scale,
                bias,
                residual,
                values,
                codes,
                sum_grid,
                lower,
                step,
                C_VALUES,
                C_OUT,
                RELU,
                SUM_LAST,
                LAST,
                SHIFT,
                MULTIPLY,
            )
        above, here, below = here, below, start
