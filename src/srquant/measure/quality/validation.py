"""PSNR of a network during training."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from srquant.data.benchmark import BenchmarkSet
from srquant.measure.quality.metrics import psnr_y
from srquant.models.network import Network, device_of, of_valid_size

Pixels = NDArray[np.uint8]


def mean_psnr(network: Network, sets: Sequence[BenchmarkSet]) -> float:
    """Mean over sets of the mean luminance PSNR of each set in dB, as measured by ``srquant evaluate``.

    Args:
        network: in evaluation mode, on any device.
        sets: at least one, with the network's scale.
    """
    means = [
        np.mean([psnr_y(upscaled(network, sample.low), sample.high, benchmark.scale) for sample in benchmark])
        for benchmark in sets
    ]
    return float(np.mean(means))


@torch.no_grad()
def upscaled(network: Network, low: Pixels) -> Pixels:
    """Upscale ``H x W x 3`` RGB, 8 bit, without tiles; a picture of a wrong size is padded with its edge first."""
    (height, width), facts = low.shape[:2], network.facts
    images = torch.from_numpy(low).to(device_of(network)).permute(2, 0, 1)[None].float() / 255  # 1 x 3 x H x W
    result = network(of_valid_size(images, facts))[0, :, : facts.scale * height, : facts.scale * width]
    pixels: Pixels = (result.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return pixels
