"""How much detail a picture has, as CADyQ (mean gradients) and CABM (edge score) measure it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.devices import double
from srquant.grids.picture_density import gradient_sums, gray

WHITE = 255

BGR_TO_GRAY = (9798, 19235, 3735)
"""Weights of red, green and blue in 2^-15, with which OpenCV turns 8-bit colours gray."""

GRAY_BITS = 15


def mean_gradients(images: Tensor) -> Tensor:
    """Mean magnitude of the gray picture's derivatives in x and in y (CADyQ section 3.2; 3 x 3 Sobel).

    Args:
        images: ``N x 3 x H x W`` RGB in [0, 1].

    Returns:
        ``N x 2`` float32.
    """
    sums = gradient_sums(F.pad(gray(images), (1, 1, 1, 1), mode="replicate"))
    return (torch.stack(sums, 1) / (images.shape[2] * images.shape[3])).float().to(images.device)


def edge_score(images: Tensor) -> Tensor:
    """Mean magnitude of the Laplacian of the 8-bit gray picture, clipped to 255 (CABM section 3.3).

    All intermediate results are integers, as in OpenCV: ``(9798 R + 19235 G + 3735 B + 2^14) >> 15``, then the kernel
    ``2 0 2, 0 -8 0, 2 0 2`` of its 3 x 3 Laplacian, borders mirrored around their last pixel.

    Args:
        images: ``N x 3 x H x W`` RGB in [0, 1], at least 2 x 2; rounded to 8 bits.

    Returns:
        ``N`` float64 in 0..255.
    """
    pixels = F.pad((images * WHITE).round().clamp(0, WHITE), (1, 1, 1, 1), mode="reflect").long()
    red, green, blue = (weight * pixels[:, i] for i, weight in enumerate(BGR_TO_GRAY))
    levels = (red + green + blue + (1 << (GRAY_BITS - 1))) >> GRAY_BITS
    centre = levels[:, 1:-1, 1:-1]
    corners = levels[:, :-2, :-2] + levels[:, :-2, 2:] + levels[:, 2:, :-2] + levels[:, 2:, 2:]
    return double((2 * corners - 8 * centre).abs().clamp(max=WHITE)).mean((1, 2))
