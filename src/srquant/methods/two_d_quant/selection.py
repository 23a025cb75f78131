"""Keep the iterate whose pictures are closest to true ones, as 2DQuant's paper and code do on Set5.

This uses ground truth, which post-training quantization otherwise doesn't; PSNR on the same set is then no test.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srquant.data.benchmark import BenchmarkSet
from srquant.models.network import Network, device_of, of_valid_size

LUMINANCE = (65.481, 128.553, 24.966)
"""Weights of red, green and blue in [0, 1] in the luminance of studio-range BT.601; its offset cancels out."""

LABEL = "{name}, ground truth: the iterate of the highest PSNR on its true pictures is kept"
"""What files say instead of the folder."""


def label(folder: str) -> str:
    """Name of the set, and that its true pictures were used."""
    return LABEL.format(name=Path(folder).resolve().name)


class BestIterate:
    """Remembers the values of parameters at the step of the highest PSNR on a benchmark set.

    Args:
        student: the network that learns.
        parameters: of it; those that learn.
        benchmark: pairs of pictures with the network's scale.
        every: steps between two measurements.
        steps: of the whole run; the last one is measured too.

    Attributes:
        psnr: of the best iterate so far, in dB.
        step: its number, from 1; 0 before the first measurement.
    """

    def __init__(
        self, student: Network, parameters: Sequence[nn.Parameter], benchmark: BenchmarkSet, every: int, steps: int
    ) -> None:
        self.student, self.parameters, self.benchmark = student, parameters, benchmark
        self.every, self.steps = every, steps
        self.done = self.step = 0
        self.psnr = -float("inf")
        self.best: list[Tensor] = []

    def __call__(self) -> None:
        """After each step: measure now and then, and remember what is better than before."""
        self.done += 1
        if self.done % self.every and self.done != self.steps:
            return
        psnr = luminance_psnr(self.student, self.benchmark)
        if psnr > self.psnr:
            self.psnr, self.step = psnr, self.done
            self.best = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def restore(self) -> None:
        """Give the parameters the values of the best iterate."""
        for parameter, best in zip(self.parameters, self.best, strict=True):
            parameter.copy_(best)


def luminance_psnr(network: Network, benchmark: BenchmarkSet) -> float:
    """Mean PSNR of the luminance in dB as in ``evaluate``: of rounded pictures, without a border of ``scale`` pixels.

    Args:
        network: in evaluation mode, on any device.
        benchmark: with the network's scale.
    """
    values = [_psnr(network, sample.low, sample.high) for sample in benchmark]
    return float(torch.stack(values).mean())


@torch.no_grad()
def _psnr(network: Network, low: NDArray[np.uint8], high: NDArray[np.uint8]) -> Tensor:
    device = device_of(network)
    images, truth = (torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].double() for pixels in (low, high))
    upscaled = network(of_valid_size(images.float() / 255, network.facts))
    difference = (upscaled.clamp(0, 1) * 255).round()[..., : truth.shape[2], : truth.shape[3]] - truth
    weights = torch.tensor(LUMINANCE, dtype=torch.float64, device=device) / 255
    border = network.facts.scale
    luminance = (difference * weights.view(1, 3, 1, 1)).sum(1)[:, border:-border, border:-border]
    return 10 * torch.log10(255.0**2 / luminance.square().mean())
