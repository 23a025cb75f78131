"""Fixtures that many tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of benchmark pictures and pretrained weights, which the project doesn't ship."""
    folder = Path(os.environ.get("SRQUANT_SHARED", Path(__file__).parents[2] / "shared")).resolve()
    if not (folder / "data" / "MANIFEST.md").exists():
        pytest.skip(f"needs benchmark pictures and weights; set SRQUANT_SHARED ({folder} has none)")
    return folder


@pytest.fixture(scope="session")
def smooth_pictures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int, int], Path]:
    """Makes a folder of so many blurred random pictures of a height and width."""

    def make(count: int, height: int, width: int) -> Path:
        folder = tmp_path_factory.mktemp("pictures")
        for i in range(count):
            pixels = np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)
            Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)).save(folder / f"{i}.png")
        return folder

    return make


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
