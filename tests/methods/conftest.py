"""A folder of small pictures to calibrate with, and a few steps of training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from srquant.data.calibration import CalibrationSet
from srquant.distillation.loop import adam
from srquant.training.student import Student


@pytest.fixture(scope="session")
def trained() -> Callable[[Student, list[torch.Tensor], int], list[float]]:
    """The losses of some steps towards larger pictures of the first crops."""

    def losses(student: Student, crops: list[torch.Tensor], steps: int) -> list[float]:
        optimizer = adam(student.rates())
        high = torch.nn.functional.interpolate(crops[0], scale_factor=2, mode="bicubic").clamp(0, 1)
        values = []
        for step in range(steps):
            loss = student(crops[0], high, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            student.after_step(step)
            values.append(loss.item())
        return values

    return losses


@pytest.fixture(scope="session")
def calibration(smooth_pictures: Callable[[int, int, int], Path]) -> CalibrationSet:
    return CalibrationSet(smooth_pictures(4, 20, 22), count=4, seed=0, patch=14)
