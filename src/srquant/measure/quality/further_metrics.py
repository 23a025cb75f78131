"""Further full-reference metrics, computed by the optional package piq on RGB in [0, 1]."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.errors import EngineError, ImageError, InputError, suggest
from srquant.models.missing_operators import declare_missing_operators

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        name: as the command line takes it.
        about: what it is, and which direction is better.
        measure: from the package piq and two pictures ``1 x 3 x H x W`` in [0, 1] to a number, the result first.
        smallest: fewest pixels of a side, without the border.
        weights: names of the files of weights that it needs, in the folder of ``torch.hub``.
    """

    name: str
    about: str
    measure: Callable[[ModuleType, Tensor, Tensor], Tensor]
    smallest: int = 16
    weights: tuple[str, ...] = ()


VGG = "vgg16-397923af.pth"

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("psnr-rgb", "PSNR of all colours, dB; higher is better", lambda piq, sr, hr: piq.psnr(sr, hr), 1),
        Metric(
            "ms-ssim", "SSIM at five scales; higher is better", lambda piq, sr, hr: piq.multi_scale_ssim(sr, hr), 161
        ),
        Metric(
            "vif",
            "visual information fidelity, pixel domain; higher is better",
            lambda piq, sr, hr: piq.vif_p(sr, hr),
            41,
        ),
        Metric(
            "gmsd", "gradient magnitude similarity deviation; lower is better", lambda piq, sr, hr: piq.gmsd(sr, hr)
        ),
        Metric("fsim", "feature similarity; higher is better", lambda piq, sr, hr: piq.fsim(sr, hr)),
        Metric(
            "lpips",
            "distance of VGG-16's features; lower is better",
            lambda piq, sr, hr: piq.LPIPS()(sr, hr),
            32,
            (VGG, "lpips_weights.pt"),
        ),
        Metric(
            "dists",
            "distance of structure and texture of VGG-16's features; lower is better",
            lambda piq, sr, hr: piq.DISTS()(sr, hr),
            32,
            (VGG, "dists_weights.pt"),
        ),
    )
}


def find_metrics(names: list[str]) -> tuple[Metric, ...]:
    """The metrics called so.

    Raises:
        InputError: there is no such metric, or a file of weights that it needs isn't there.
        EngineError: piq isn't installed.
    """
    for name in names:
        if name not in METRICS:
            raise InputError(f"--metric {name}: unknown; {suggest(name, METRICS)}")
        for file in METRICS[name].weights:
            check_weights(name, hub_folder() / file)
    if names:
        import_piq()
    return tuple(METRICS[name] for name in names)


def measured(metric: Metric, sr: Pixels, hr: Pixels, border: int) -> float:
    """The metric of an upscaled picture.

    Args:
        metric: from ``find_metrics``.
        sr: upscaled picture, ``H x W x 3`` RGB, 8 bit.
        hr: what it is compared with, of the same shape.
        border: pixels left out on all four sides.

    Raises:
        ImageError: too few pixels are left inside the border.
    """
    side = min(sr.shape[:2]) - 2 * border
    if side < metric.smallest:
        raise ImageError(
            f"{metric.name} needs {metric.smallest} pixels per side, and {max(side, 0)} are left: leave it out"
        )
    with torch.inference_mode():
        return float(metric.measure(import_piq(), _tensor(sr, border), _tensor(hr, border)))


def import_piq() -> ModuleType:
    """The package piq, also beside a PyTorch for which the installed torchvision wasn't built.

    Raises:
        EngineError: it isn't installed.
    """
    declare_missing_operators()
    try:
        return importlib.import_module("piq")
    except ImportError as error:
        raise EngineError(f"--metric needs the package piq ({error}): pip install 'srquant[metrics]'") from error


def hub_folder() -> Path:
    """Where PyTorch keeps files of weights that it has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def check_weights(metric: str, path: Path) -> None:
    """Check that a file of weights is there, and holds nothing but tensors.

    Raises:
        InputError: it isn't, or it does.
    """
    if not path.exists():
        raise InputError(
            f"--metric {metric}: needs {path}, which srquant doesn't download; put it there, or use another metric"
        )
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"--metric {metric}: {path} holds more than tensors, or is damaged; replace it") from error


def _tensor(picture: Pixels, border: int) -> Tensor:
    height, width = picture.shape[:2]
    inner = picture[border : height - border, border : width - border]
    return torch.from_numpy(np.ascontiguousarray(inner.transpose(2, 0, 1)))[None].float() / 255
