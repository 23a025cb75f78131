"""Symmetric grids for training: their points, what they observe, their smallest bound."""

import pytest
import torch

from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.symmetric import SymmetricQuantizer


def bounds(quantizer: ActivationQuantizer) -> tuple[float, float]:
    return quantizer.lower.item(), quantizer.upper.item()


def test_points_by_hand():
    """With 3 bits n is 3, so the step is 0.5: seven points, the last at the bound."""
    quantizer = SymmetricQuantizer(torch.tensor(1.5), 3)
    assert bounds(quantizer) == (-1.5, 1.5)
    assert quantizer(torch.tensor([-9.0, -0.6, 0.2, 0.3, 9.0])).tolist() == [-1.5, -0.5, 0.0, 0.5, 1.5]


def test_without_momentum_nothing_is_observed():
    quantizer = SymmetricQuantizer(torch.tensor(2.0), 4)
    quantizer(torch.tensor([[9.0], [7.0]]))
    assert quantizer.seen.item() == 2.0


def test_observed_are_the_largest_magnitudes_of_samples():
    """Magnitudes 3 and 5 have the mean 4; a quarter of the bound 2 and three quarters of 4 are 3.5."""
    quantizer = SymmetricQuantizer(torch.tensor(2.0), 4, momentum=0.25)
    quantizer(torch.tensor([[1.0, -3.0], [5.0, 0.1]]))
    assert quantizer.seen.item() == 3.5
    assert bounds(quantizer) == (-2.0, 2.0)
    quantizer.use_observed()
    assert bounds(quantizer) == (-3.5, 3.5)


def test_observed_zeros_give_the_smallest_bound():
    quantizer = SymmetricQuantizer(torch.tensor(2.0), 4, momentum=0.0)
    quantizer(torch.zeros(2, 3))
    assert quantizer.seen.item() == pytest.approx(1e-6, rel=1e-6, abs=0)


def test_bounds_stay_positive():
    quantizer = SymmetricQuantizer(torch.tensor(2.0), 4)
    quantizer.upper.data.fill_(0.5)
    quantizer.keep_positive()
    assert bounds(quantizer) == (-0.5, 0.5)
    quantizer.upper.data.fill_(-3.0)
    quantizer.keep_positive()
    assert bounds(quantizer) == pytest.approx((-1e-6, 1e-6), rel=1e-6, abs=0)


def test_the_deployable_grid_is_the_same():
    quantizer = SymmetricQuantizer(torch.tensor(1.5), 3)
    deployable, x = quantizer.deployable(), torch.linspace(-2, 2, 101)
    assert type(deployable) is ActivationQuantizer
    assert (bounds(deployable), deployable.levels) == ((-1.5, 1.5), 7)
    assert torch.equal(deployable(x), quantizer(x))
