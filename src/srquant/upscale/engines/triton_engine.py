"""The Triton engine: exact int8 convolutions on CUDA devices."""

import numpy as np
import torch
from torch import nn

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.deploy.frozen.layers import FrozenLayer
from srquant.deploy.triton.available import require_triton
from srquant.deploy.triton.cuda_graph import GraphRunner
from srquant.deploy.triton.prepare import prepare, supported_layers
from srquant.devices import inference_on
from srquant.models.network import Network, device_of, modules_of
from srquant.upscale.engines.fingerprint import fingerprint
from srquant.upscale.engines.protocol import Images
from srquant.upscale.tiles.tiling import measure_tiling

FROZEN = "srquant.deploy.frozen."


class TritonEngine:
    """Frozen 3x3 convolutions as int8 kernels, other layers as ``TorchEngine``, on the network's CUDA device.

    Gives the bits of ``TorchEngine`` on the CPU. With ``TRITON_INTERPRET=1`` it runs on the CPU too, for tests.

    Args:
        network: float or frozen, on the device to use; left unchanged.

    Raises:
        EngineError: Triton isn't installed, or the network isn't on a CUDA device.
    """

    name = "triton"

    def __init__(self, network: Network) -> None:
        self.device = device_of(network)
        require_triton(self.device)
        self.network, self.facts = network.eval(), network.facts
        self.tiling = measure_tiling(self.network)
        prepared = prepare(self.network)
        self.run = GraphRunner(prepared) if self.device.type == "cuda" and is_capturable(prepared) else prepared

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        with inference_on(self.device):
            tensor = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            result: Images = self.run(tensor.contiguous(memory_format=torch.channels_last)).cpu().numpy()
        return result

    def fingerprint(self) -> str:
        """See ``Engine``."""
        return fingerprint(self.network, self.name)

    def float_layers(self) -> set[str]:
        """Names of the frozen layers that the kernels don't compute; PyTorch computes them exactly, but in float."""
        frozen = {**modules_of(self.network.module, FrozenLayer), **modules_of(self.network.module, DynamicLayer)}
        return set(frozen) - set(supported_layers(self.network))


def is_capturable(prepared: nn.Module) -> bool:
    """Whether no module reads numbers from the device on its way, which a recording can't; frozen PyTorch forms do."""
    return not any(type(module).__module__.startswith(FROZEN) for module in prepared.modules())
