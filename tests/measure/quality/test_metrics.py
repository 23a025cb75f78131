"""PSNR and SSIM against closed forms and independent implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import structural_similarity
from torch.nn import functional as F

from srquant.errors import ImageError
from srquant.measure.quality.metrics import luminance, psnr_y, ssim

RANDOM = np.random.default_rng(0)
SHARP = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)
NOISY = np.clip(SHARP + RANDOM.normal(0, 20, SHARP.shape), 0, 255).astype(np.uint8)
pictures = arrays(np.uint8, (9, 12, 3))


def flat(value, size=(16, 16)):
    return np.full((*size, 3), value, np.uint8)


def test_luminance_of_white_and_black():
    assert luminance(flat(255))[0, 0] == pytest.approx(235, abs=1e-12)
    assert luminance(flat(0))[0, 0] == 16


def test_luminance_of_primaries():
    primaries = np.diag([255, 255, 255]).astype(np.uint8)[None]
    np.testing.assert_allclose(luminance(primaries)[0], [81.481, 144.553, 40.966], atol=1e-12)


@given(pictures, pictures)
def test_psnr_does_not_depend_on_the_offset(sr, hr):
    """Also: the coefficients on the 0..256 scale of EDSR-PyTorch give the same to five digits."""
    difference = (sr.astype(float) - hr) @ np.array([65.738, 129.057, 25.064]) / 256
    error = np.mean(difference**2)
    if error > 1e-9:
        assert psnr_y(sr, hr, 0) == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)


@given(st.integers(1, 255))
def test_psnr_of_a_gray_shift(shift):
    assert psnr_y(flat(shift), flat(0), 2) == pytest.approx(20 * np.log10(255 / (shift * 219 / 255)), abs=1e-9)


def test_psnr_of_equal_pictures_is_infinite():
    assert psnr_y(SHARP, SHARP, 2) == float("inf")


@given(pictures, pictures)
def test_psnr_is_symmetric(sr, hr):
    assert psnr_y(sr, hr, 1) == psnr_y(hr, sr, 1)


@pytest.mark.parametrize("border", [1, 2, 4])
@pytest.mark.parametrize("metric", [psnr_y, lambda *a: ssim(*a, "A"), lambda *a: ssim(*a, "B")], ids=["psnr", "A", "B"])
def test_the_border_is_left_out_on_all_sides(metric, border):
    spoilt = NOISY.copy()
    spoilt[:border], spoilt[-border:], spoilt[:, :border], spoilt[:, -border:] = 0, 255, 0, 255
    inner = np.s_[border:-border, border:-border]
    assert metric(spoilt, SHARP, border) == metric(NOISY[inner], SHARP[inner], 0)


def test_ssim_a_equals_scikit_image():
    """With Wang's settings scikit-image computes MATLAB's SSIM: windows inside the picture only."""
    expected = structural_similarity(
        luminance(NOISY),
        luminance(SHARP),
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(NOISY, SHARP, 0, "A") == pytest.approx(expected, abs=1e-12)


def ssim_by_3d_window(sr, hr):
    """AdaBM's way: a 3-D Gaussian window on a depth of one, replicated beyond all six sides."""
    weights = torch.exp(-((torch.arange(11, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    weights = weights / weights.sum()
    window = torch.einsum("i,j,k->ijk", weights, weights, weights)[None, None]
    a, b = (torch.from_numpy(luminance(x) - 16)[None, None, None] for x in (sr, hr))

    def mean(x):
        return F.conv3d(F.pad(x, (5,) * 6, mode="replicate"), window)

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    covariance = 2 * (mean(a * b) - mean(a) * mean(b)) + c2
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2 + c2
    values = (2 * mean(a) * mean(b) + c1) * covariance / ((mean(a) ** 2 + mean(b) ** 2 + c1) * variances)
    return float(values.mean())


def test_ssim_b_equals_the_3d_window():
    assert ssim(NOISY, SHARP, 0, "B") == pytest.approx(ssim_by_3d_window(NOISY, SHARP), abs=1e-10)


def test_the_flavours_differ():
    assert 1e-5 < abs(ssim(NOISY, SHARP, 2, "A") - ssim(NOISY, SHARP, 2, "B")) < 1e-2


@pytest.mark.parametrize("flavour", ["A", "B"])
def test_ssim_of_equal_pictures_is_one(flavour):
    assert ssim(SHARP, SHARP, 2, flavour) == 1


def test_ssim_of_flat_pictures_has_a_closed_form():
    a, b, c1 = 219 * 100 / 255, 219 * 120 / 255, (0.01 * 255) ** 2
    assert ssim(flat(100), flat(120), 0, "B") == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-12)


def test_other_shapes_are_refused():
    with pytest.raises(ImageError, match=r"\(16, 16, 3\) and \(16, 17, 3\): crop"):
        psnr_y(flat(0), flat(0, (16, 17)), 0)


def test_pictures_smaller_than_border_or_window_are_refused():
    with pytest.raises(ImageError, match=r"4x9 .* use at least 5 pixels"):
        psnr_y(flat(0, (4, 9)), flat(0, (4, 9)), 2)
    with pytest.raises(ImageError, match=r"14x40 .* use at least 15 pixels"):
        ssim(flat(0, (14, 40)), flat(0, (14, 40)), 2, "A")
    assert ssim(flat(0, (15, 40)), flat(0, (15, 40)), 2, "A") == 1
