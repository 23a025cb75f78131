"""Steps on pixels with channels last, the order in which ONNX Runtime computes integer convolutions.

Each step changes the order and changes it back; ONNX Runtime drops such pairs between neighbours.
"""

import numpy as np

from srquant.deploy.onnx.nodes import Value, constant, make


def channels_last(x: Value) -> Value:
    """``N x C x H x W`` to ``N x H x W x C``."""
    return make("Transpose", x, perm=[0, 2, 3, 1])


def channels_first(x: Value) -> Value:
    """``N x H x W x C`` to ``N x C x H x W``."""
    return make("Transpose", x, perm=[0, 3, 1, 2])


def shuffle_blocks(x: Value, factor: int) -> Value:
    """Pixel shuffle of channels ordered ``(i*f + j)*C + c``: whole blocks of channels move."""
    pixels = channels_last(x)
    blocks = make("Reshape", pixels, constant(np.array([0, 0, 0, factor, factor, -1])))
    moved = make("Transpose", blocks, perm=[0, 1, 3, 2, 4, 5])  # N x H x f x W x f x C
    size = make("Mul", make("Shape", pixels, start=1, end=3), constant(np.array(factor)))
    shape = make("Concat", constant(np.array([0])), size, constant(np.array([-1])), axis=0)
    return channels_first(make("Reshape", moved, shape))
