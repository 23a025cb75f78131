"""I2B: densities to bits, and its first thresholds."""

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
