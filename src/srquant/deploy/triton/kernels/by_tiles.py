"""A convolution of a rectangle of pixels as nine matrix products, one for each pixel of the window."""

import triton
import triton.language as tl

from srquant.deploy.triton.kernels.finish import finish


@triton.jit
def by_tiles(
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
    """Compute ``BLOCK_H x BLOCK_W`` pixels and ``BLOCK_N`` channels; arguments as ``conv3x3``."""
    across, down = tl.cdiv(width, BLOCK_W), tl.cdiv(height, BLOCK_H)
    block = tl.program_id(0)
    picture = (block // (across * down)).to(tl.int64)
    pixel = tl.arange(0, BLOCK_H * BLOCK_W)
    rows = (block // across) % down * BLOCK_H + pixel // BLOCK_W
    columns = (block % across) * BLOCK_W + pixel % BLOCK_W
    pixels = (picture * height + rows) * width + columns
    channels = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    sums = tl.load(first_sum + channels)[None, :] + tl.zeros((BLOCK_H * BLOCK_W, BLOCK_N), tl.int32)
    for tap in range(9):
        down_by, right_by = tap // 3 - 1, tap % 3 - 1
        row, column = rows + down_by, columns + right_by
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        for k in tl.static_range(0, C_IN, BLOCK_K):
            place = (pixels + (down_by * width + right_by))[:, None] * C_IN + (k + inner)[None, :]
            if ZERO_PADDED:
                padding = 0
            else:
                padding = tl.load(padded + k + inner)[None, :] + tl.zeros((BLOCK_H * BLOCK_W, BLOCK_K), tl.int8)
            block_of_codes = tl.load(source + place, mask=inside[:, None], other=padding)
            window = weight + (tap * C_OUT + channels)[None, :] * C_IN + (k + inner)[:, None]
            sums = tl.dot(block_of_codes, tl.load(window), sums, out_dtype=tl.int32)
    finish(
        sums,
        pixels,
        (rows < height) & (columns < width),
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
