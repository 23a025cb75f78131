"""The PyTorch engine: the reference for the others."""

import numpy as np
import torch

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.models.network import Network, device_of, modules_of
from srquant.upscale.engines.protocol import Images
from srquant.upscale.tiles.tiling import measure_tiling


class TorchEngine:
    """PyTorch, on the device that the network is on. Puts the network into evaluation mode."""

    name = "torch"

    def __init__(self, network: Network) -> None:
        self.network = network.eval()
        self.tiling = measure_tiling(self.network)
        self.device = device_of(network)

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            result: Images = self.network(tensor.contiguous(memory_format=torch.channels_last)).cpu().numpy()
        return result

    def float_layers(self) -> set[str]:
        """Names of the layers with dynamic ranges.

        PyTorch stores all numbers as float, but computes the other frozen layers with the results of integer
        arithmetic.
        """
        return set(modules_of(self.network.module, DynamicLayer))
