"""A tiny float network, its quantized copy, and a folder of pictures."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srquant.data.calibration import CalibrationSet
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quant.insert import insert_quantizers
from srquant.quant.policy import Policy
from srquant.quant.ranges import minmax, symmetric_max
from srquant.quant.statistics import Collection, activation_bounds


@pytest.fixture
def teacher() -> Network:
    return build("edsr", {"blocks": 2, "features": 8}).eval()


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    """Crops of 5 smooth random pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)).save(folder / f"{i}.png")
    return CalibrationSet(folder, count=5, seed=3, patch=12)


@pytest.fixture
def student(teacher: Network, calibration: CalibrationSet) -> Callable[..., Network]:
    """Quantized with min-max ranges, not settled."""

    def make(policy: Policy | None = None) -> Network:
        policy = Policy() if policy is None else policy
        bounds = activation_bounds(teacher, policy, calibration.batches(16), Collection(minmax, 0.9))
        return insert_quantizers(teacher, policy, bounds, symmetric_max)

    return make
