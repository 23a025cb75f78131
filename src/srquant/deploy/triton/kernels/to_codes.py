"""Values to the int8 codes of a grid per channel."""

import triton
import triton.language as tl

ROUNDING: tl.constexpr = tl.constexpr(12582912.0)
"""1.5 * 2**23: adding it to a float32 between 0 and 2**22 rounds to an integer, half to even; its low bits hold it."""

ROUNDING_BITS: tl.constexpr = tl.constexpr(0x4B400000)
"""The bits of ``ROUNDING`` as an int32."""


@triton.jit
def to_codes(value, lower, step, LAST: tl.constexpr, SHIFT: tl.constexpr, MULTIPLY: tl.constexpr):
    """Codes of a block.

    Args:
        value: float32 ``pixels x channels``.
        lower: first grid point, float32 per channel.
        step: or its inverse if ``MULTIPLY``.
        LAST: largest code.
        SHIFT: subtracted from codes, so that they fit into int8.
        MULTIPLY: multiply by the inverse of the step instead of dividing.
    """
    difference = value - lower[None, :]
    if MULTIPLY:
        position = difference * step[None, :]
    else:
        position = tl.div_rn(difference, step[None, :] + tl.zeros_like(difference))
    rounded = tl.minimum(tl.maximum(position, 0.0), LAST) + ROUNDING
    return (rounded.to(tl.int32, bitcast=True) - (ROUNDING_BITS + SHIFT)).to(tl.int8)


@triton.jit
def encode_kernel(
    values,
    codes,
    lower,
    step,
    pixels,
    CHANNELS: tl.constexpr,
    PADDED: tl.constexpr,
    LAST: tl.constexpr,
    SHIFT: tl.constexpr,
    BLOCK: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Float32 ``pixels x CHANNELS`` to int8 ``pixels x PADDED``, in blocks of ``BLOCK x BLOCK_C``."""
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    exists = (pixel < pixels)[:, None] & (channel < CHANNELS)[None, :]
    value = tl.load(values + pixel[:, None] * CHANNELS + channel[None, :], mask=exists, other=0.0)
    code = to_codes(value, tl.load(lower + channel), tl.load(step + channel), LAST, SHIFT, False)
    tl.store(codes + pixel[:, None] * PADDED + channel[None, :], code, mask=(pixel < pixels)[:, None])
