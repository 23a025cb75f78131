"""What all steps of the GPU benchmark share: the device, the size, the network and the pictures."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from srquant.data.calibration import CalibrationSet
from srquant.data.images import png_bytes
from srquant.models.load import build, load_model
from srquant.models.network import Network

WEIGHTS = "weights/edsr/edsr_r16f64_x4_own.pt"
PICTURES = "data/DIV2K_test_LR/LR_bicubic/X4"
NOISE_COUNT, NOISE_SIDE = 100, 128


@dataclass(frozen=True)
class Setting:
    """The setting of one run.

    Attributes:
        device: what is measured.
        small: tiny networks and pictures.
        work: folder that the steps share.
        qat_steps: of quantization-aware training.
    """

    device: torch.device
    small: bool
    work: Path
    qat_steps: int

    @property
    def shared(self) -> Path | None:
        """Pictures and weights; None: there are none, or a small run doesn't need them."""
        folder = Path(os.environ.get("SRQUANT_SHARED", "shared"))
        return folder if folder.is_dir() and not self.small else None

    @cached_property
    def weights(self) -> Path | None:
        """The trained network, if it is there."""
        return None if self.shared is None or not (self.shared / WEIGHTS).exists() else self.shared / WEIGHTS

    @property
    def about(self) -> str:
        """The network and the pictures, in words."""
        size = "EDSR 2x8 x4" if self.small else "EDSR 16x64 x4"
        pictures = "random pictures" if self.pictures_folder is None else "DIV2K test pictures"
        return f"{size}, {'random' if self.weights is None else 'trained'} weights, {pictures}"

    @property
    def pictures_folder(self) -> Path | None:
        """The calibration pictures, if they are there."""
        return None if self.shared is None or not (self.shared / PICTURES).is_dir() else self.shared / PICTURES

    def network(self) -> Network:
        """EDSR x4 on the device."""
        if self.weights is not None:
            return load_model(self.weights).eval().to(self.device)
        torch.manual_seed(0)
        sizes = {"blocks": 2, "features": 8} if self.small else {"blocks": 16, "features": 64}
        return build("edsr", {**sizes, "scale": 4}).eval().to(self.device)

    def pictures(self) -> Path:
        """Folder of low-resolution pictures; random ones are written if there are none."""
        if self.pictures_folder is not None:
            return self.pictures_folder
        folder = self.work / "pictures"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            for i in range(4 if self.small else NOISE_COUNT):
                (folder / f"{i:03}.png").write_bytes(png_bytes(smooth_noise(i, 32 if self.small else NOISE_SIDE)))
        return folder

    def calibration(self) -> CalibrationSet:
        """100 crops of 48x48, as in the papers' settings."""
        return CalibrationSet(self.pictures(), 4, patch=16) if self.small else CalibrationSet(self.pictures(), 100)

    def seconds(self, run: Callable[[], object]) -> float:
        """Time of a function, until the device has finished."""
        start = time.perf_counter()
        run()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter() - start


def smooth_noise(seed: int, side: int) -> np.ndarray:
    """A random picture of soft spots, ``side x side x 3``, 8 bit."""
    coarse = torch.from_numpy(np.random.default_rng(seed).random((1, 3, side // 8, side // 8), np.float32))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return np.ascontiguousarray((fine[0] * 255).byte().permute(1, 2, 0).numpy())
