"""I2B: densities to bits, and its first thresholds."""

import math

import pytest
import torch

from srquant.errors import DatasetError
from srquant.methods.adabm.image_to_bit import I2BCalibration, ImageToBit


def test_densities_map_to_bits_strictly_and_push_the_thresholds():
    i2b = ImageToBit(torch.tensor(10.0), torch.tensor(40.0))
    density = torch.tensor([9.9, 10.0, 25.0, 40.0, 40.1])
    bits = i2b(density)
    assert bits.tolist() == [-1, 0, 0, 0, 1]
    bits.sum().backward()
    assert i2b.upper.grad < 0  # a higher threshold lowers the bits
    assert i2b.lower.grad < 0


def test_density_quantiles_are_averaged_over_batches():
    calibration = I2BCalibration(0.1, 0.9)
    calibration.update(torch.arange(11.0))
    assert torch.allclose(calibration.quantiles, torch.tensor([1.0, 9.0]))
    calibration.update(torch.arange(11.0) + 10)
    assert torch.allclose(calibration.quantiles, torch.tensor([2.0, 10.0]))
    batches = [torch.rand(4, 3, 8, 8), torch.rand(2, 3, 8, 8)]
    watched = I2BCalibration(0.1, 0.9)
    assert all(a is b for a, b in zip(watched.watching(batches), batches, strict=True))
    assert watched.quantiles is not None


def test_crops_of_equal_density_are_refused():
    with pytest.raises(DatasetError, match="gradient density 5, so adabm can't tell pictures apart"):
        I2BCalibration(0.1, 0.9, torch.tensor([5.0, 5.0])).image_to_bit()
    assert I2BCalibration(0.1, 0.9, torch.tensor([5.0, 5.1])).image_to_bit().upper.item() == pytest.approx(5.1)


def test_gradients_of_thresholds_are_those_of_tanh_by_hand():
    """Six from the middle, 25, of 15 to the upper threshold: position 0.4; it moves by 2/30 with the density."""
    lower, upper, density = (torch.tensor(value, requires_grad=True) for value in (10.0, 40.0, 31.0))
    i2b = ImageToBit(lower, upper)
    i2b(density).backward()
    slope = 1 - math.tanh(0.4) ** 2
    assert density.grad.item() == pytest.approx(slope * 2 / 30)
    assert i2b.upper.grad.item() == pytest.approx(slope * (-1 / 30 - 6 * 2 / 30**2))
    assert i2b.lower.grad.item() == pytest.approx(slope * (-1 / 30 + 6 * 2 / 30**2))
    i2b.lower.data.fill_(0.0)
    assert lower.item() == 10.0


def test_the_printed_gradient_has_no_factor():
    """Eq. 7: the middle moves by half of each threshold, one unit of density is one of tanh."""
    lower, upper, density = (torch.tensor(value, requires_grad=True) for value in (10.0, 40.0, 25.3))
    i2b = ImageToBit(lower, upper, scaled=False)
    bits = i2b(density)
    bits.backward()
    slope = 1 - math.tanh(0.3) ** 2
    assert bits.item() == 0
    assert density.grad.item() == pytest.approx(slope, rel=1e-5)
    assert i2b.upper.grad.item() == i2b.lower.grad.item() == pytest.approx(-slope / 2, rel=1e-5)
    assert not I2BCalibration(0.1, 0.9, torch.tensor([5.0, 9.0]), scaled=False).image_to_bit().scaled
    assert I2BCalibration(0.1, 0.9, torch.tensor([5.0, 9.0])).image_to_bit().scaled
