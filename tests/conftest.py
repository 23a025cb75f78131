"""Fixtures that many tests share."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of benchmark pictures and pretrained weights, which the project doesn't ship."""
    folder = Path(os.environ.get("SRQUANT_SHARED", Path(__file__).parents[2] / "shared")).resolve()
    if not (folder / "data" / "MANIFEST.md").exists():
        pytest.skip(f"needs benchmark pictures and weights; set SRQUANT_SHARED ({folder} has none)")
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
