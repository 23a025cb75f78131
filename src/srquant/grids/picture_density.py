"""Gradient density: how much detail a picture has (AdaBM section 3.3, "image complexity")."""

import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.devices import has_float64

GRAY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (Rec. 601)."""

UNIT = 1000.0
"""Factor from mean gradients of pictures in [0, 1] to densities: a density of 1 is 1/1000 per pixel."""

SOBEL_SUM = 8
"""Sum of the magnitudes of a 3 x 3 Sobel kernel."""


def gradient_density(images: Tensor) -> Tensor:
    """1000 times the mean magnitude of the gray picture's derivatives in x and y (3 x 3 Sobel, borders repeated).

    Args:
        images: ``N x 3 x H x W`` RGB in [0, 1].

    Returns:
        ``N`` float32; 0 for a plain picture, 5 to 100 for photographs.
    """
    total = gradient_sum(F.pad(gray(images), (1, 1, 1, 1), mode="replicate"))
    return density_of(total, images.shape[2] * images.shape[3]).to(images.device)


def density_of(total: Tensor, pixels: int) -> Tensor:
    """The density of pictures with this ``gradient_sum`` and number of pixels, float32."""
    return (UNIT * total / (2 * pixels)).float()


def gray(images: Tensor) -> Tensor:
    """``N x 3 x H x W`` RGB to ``N x 1 x H x W``."""
    red, green, blue = GRAY
    return red * images[:, 0:1] + green * images[:, 1:2] + blue * images[:, 2:3]


def gradient_sum(padded: Tensor) -> Tensor:
    """Sum of the magnitudes of both derivatives over all pixels, so that parts of a picture can be added up.

    Args:
        padded: ``N x 1 x (H+2) x (W+2)``: the gray picture with one pixel of border on each side.

    Returns:
        ``N`` float64, on the CPU where the picture's device can't compute in float64.
    """
    horizontal, vertical = gradient_sums(padded)
    return horizontal + vertical


def gradient_sums(padded: Tensor) -> tuple[Tensor, Tensor]:
    """The sums for the derivatives in x and in y, ``N`` float64 each; argument as ``gradient_sum``."""
    padded = padded if has_float64(padded.device) else padded.cpu()
    horizontal = _smooth(padded[..., 2:] - padded[..., :-2], 2)
    vertical = _smooth(padded[..., 2:, :] - padded[..., :-2, :], 3)
    x, y = (d.abs().flatten(1).sum(1, dtype=torch.float64) / SOBEL_SUM for d in (horizontal, vertical))
    return x, y


def _smooth(x: Tensor, axis: int) -> Tensor:
    """Convolution with ``1 2 1`` along an axis, which gets 2 shorter."""
    size = x.shape[axis]
    first, middle, last = (x.narrow(axis, start, size - 2) for start in range(3))
    return first + 2 * middle + last
