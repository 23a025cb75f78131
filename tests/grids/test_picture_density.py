"""Gradient density: against a convolution written out, and in parts."""

import pytest
import torch
from torch.nn import functional as F

from srquant.grids.picture_density import GRAY, density_of, gradient_density, gradient_sum, gray


def by_convolution(images):
    """Kornia's formula: normalised Sobel kernels, borders repeated, mean over derivatives and pixels."""
    x = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).double() / 8
    kernels = torch.stack([x, x.T]).unsqueeze(1)
    grays = (images.double() * torch.tensor(GRAY).double().view(1, 3, 1, 1)).sum(1, keepdim=True)
    return 1000 * F.conv2d(F.pad(grays, (1, 1, 1, 1), mode="replicate"), kernels).abs().mean((1, 2, 3))


def test_equals_normalised_sobel_kernels():
    images = torch.rand(3, 3, 11, 17)
    assert torch.allclose(gradient_density(images).double(), by_convolution(images), rtol=1e-6)


def test_by_hand():
    images = torch.zeros(2, 3, 4, 4)
    images[1] = torch.arange(4.0).view(1, 1, 4) / 10  # a ramp: 0.2 / 2 inside, half of it at both borders
    assert gradient_density(images)[0] == 0
    assert gradient_density(images).dtype == torch.float32
    assert gradient_density(images)[1] == pytest.approx(1000 * (0.1 + 0.1 + 0.05 + 0.05) / 4 / 2)


def test_parts_add_up():
    grays = gray(torch.rand(1, 3, 10, 6))
    padded = F.pad(grays, (1, 1, 1, 1), mode="replicate")
    total = gradient_sum(padded[..., :6, :]) + gradient_sum(padded[..., 4:, :])
    assert torch.allclose(total, gradient_sum(padded), rtol=1e-12)
    assert density_of(torch.tensor([6.0]), 60) == pytest.approx(50)
