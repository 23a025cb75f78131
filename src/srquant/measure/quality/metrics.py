"""PSNR and SSIM of the luminance, as super-resolution papers compute them.

Luminance is studio-range BT.601, ``(65.481 R + 128.553 G + 24.966 B) / 255 + 16``: 16 for black, 235 for white, not
rounded. SSIM: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", TIP 2004.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

from srquant.errors import ImageError

Flavour = Literal["A", "B"]
COEFFICIENTS = np.array([65.481, 128.553, 24.966]) / 255
OFFSET = 16.0
WHITE = 255.0
WINDOW_SIGMA, WINDOW_RADIUS = 1.5, 5
C1, C2 = (0.01 * WHITE) ** 2, (0.03 * WHITE) ** 2


def luminance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luminance (Y) of a picture.

    Args:
        image: ``H x W x 3`` RGB, 8 bit.

    Returns:
        ``H x W`` in [16, 235], not rounded.
    """
    y: NDArray[np.float64] = image.astype(np.float64) @ COEFFICIENTS + OFFSET
    return y


def psnr_y(sr: NDArray[np.uint8], hr: NDArray[np.uint8], border: int) -> float:
    """Peak signal-to-noise ratio of the luminance.

    Args:
        sr: upscaled picture, ``H x W x 3`` RGB, 8 bit.
        hr: the high-resolution original, same shape.
        border: pixels left out on all four sides, usually the scale.

    Returns:
        dB for a peak of 255; ``inf`` for equal luminance.

    Raises:
        ImageError: the shapes differ, or the border leaves no pixel.
    """
    sr, hr = _inner(sr, hr, border)
    error = float(np.mean((luminance(sr) - luminance(hr)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(WHITE**2 / error))


def ssim(sr: NDArray[np.uint8], hr: NDArray[np.uint8], border: int, flavour: Flavour) -> float:
    """Structural similarity of the luminance, 11 x 11 Gaussian window of sigma 1.5.

    Args:
        sr: upscaled picture, ``H x W x 3`` RGB, 8 bit.
        hr: the high-resolution original, same shape.
        border: pixels left out on all four sides, usually the scale.
        flavour: ``A`` as MATLAB and BasicSR: only windows that lie completely inside the picture.
            ``B`` as AdaBM: luminance without the offset of 16, all pixels, edges replicated. They differ by about 1e-3.

    Returns:
        Mean similarity, 1 for equal luminance.

    Raises:
        ImageError: the shapes differ, or less than one window (A) or pixel (B) is left inside the border.
    """
    margin = WINDOW_RADIUS if flavour == "A" else 0
    sr, hr = _inner(sr, hr, border, smallest=2 * margin + 1)
    offset = 0.0 if flavour == "A" else OFFSET
    similarity = _similarity(luminance(sr) - offset, luminance(hr) - offset)
    height, width = similarity.shape
    return float(similarity[margin : height - margin, margin : width - margin].mean())


def _similarity(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIM of each pixel of two luminances, ``H x W``, edges replicated."""
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    structure = (2 * covariance + C2) / (variance_a + variance_b + C2)
    return (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1) * structure


def _blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred: NDArray[np.float64] = gaussian_filter(x, WINDOW_SIGMA, mode="nearest", radius=WINDOW_RADIUS)
    return blurred


def _inner(
    sr: NDArray[np.uint8], hr: NDArray[np.uint8], border: int, smallest: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both pictures without their border."""
    if sr.shape != hr.shape:
        raise ImageError(
            f"can't compare pictures of shapes {sr.shape} and {hr.shape}: crop the original to the upscaled picture"
        )
    height, width = sr.shape[:2]
    if min(height, width) - 2 * border < smallest:
        raise ImageError(
            f"a picture of {height}x{width} without a border of {border} is too small to compare: "
            f"use at least {2 * border + smallest} pixels per side"
        )
    inner = np.s_[border : height - border, border : width - border]
    return sr[inner], hr[inner]
