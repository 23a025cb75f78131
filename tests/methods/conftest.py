"""A folder of small pictures to calibrate with."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from srquant.data.calibration import CalibrationSet


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 22, 3), np.uint8)
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)).save(folder / f"{i}.png")
    return CalibrationSet(folder, count=4, seed=0, patch=14)
