"""A folder of small pictures to calibrate with."""

from collections.abc import Callable
from pathlib import Path

import pytest

from srquant.data.calibration import CalibrationSet


@pytest.fixture(scope="session")
def calibration(smooth_pictures: Callable[[int, int, int], Path]) -> CalibrationSet:
    return CalibrationSet(smooth_pictures(4, 20, 22), count=4, seed=0, patch=14)
