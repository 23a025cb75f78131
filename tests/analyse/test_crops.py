import io

import numpy as np
import pytest
from PIL import Image

from srquant.analyse.crops import compared, crop_files
from srquant.measure.quality.metrics import psnr_y


@pytest.fixture
def versions():
    first = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    second = first.copy()
    second[20:28, 4:12] = 0
    return first, second


def test_psnr_against_the_first_model(versions):
    first, second = compared(["float", "w4a4"], versions, None, 2)
    assert (first.label, first.psnr) == ("float", None)
    assert second.psnr == psnr_y(versions[1], versions[0], 2)


def test_psnr_against_an_original(versions):
    original, *others = compared(["float", "w4a4"], versions, versions[0], 2)
    assert original.label == "original"
    assert np.isinf(others[0].psnr)
    assert others[1].psnr == psnr_y(versions[1], versions[0], 2)


def test_crops_are_where_the_models_differ(versions):
    files = crop_files(compared(["float", "w4a4"], versions, None, 2), 8, 1)
    assert files["crops.csv"].decode().splitlines()[1] == "float,"
    sheet = np.asarray(Image.open(io.BytesIO(files["crops.png"])))
    assert (sheet[-2:, -2:] == 0).all(), "the crop of the second model is the black square"
