"""A folder of pictures, and a quantized copy of the tiny float network."""

from collections.abc import Callable
from pathlib import Path

import pytest

from srquant.data.calibration import CalibrationSet
from srquant.grids.range_rules import minmax, symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Policy
from srquant.models.network import Network


@pytest.fixture(scope="session")
def calibration(smooth_pictures: Callable[[int, int, int], Path]) -> CalibrationSet:
    """Crops of 5 smooth random pictures."""
    return CalibrationSet(smooth_pictures(5, 20, 24), count=5, seed=3, patch=12)


@pytest.fixture
def student(teacher: Network, calibration: CalibrationSet) -> Callable[..., Network]:
    """Quantized with min-max ranges, not settled."""

    def make(policy: Policy | None = None) -> Network:
        policy = Policy() if policy is None else policy
        plan = resolve(teacher, policy)
        bounds = activation_bounds(teacher, plan, calibration.batches(16), Collection(minmax, 0.9))
        return insert_quantizers(teacher, plan, bounds, symmetric_max)

    return make
