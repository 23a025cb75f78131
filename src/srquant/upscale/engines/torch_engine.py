"""The PyTorch engine: the reference for the others, and the engine for networks on CUDA and mps."""

import copy
import os
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from srquant.deploy.frozen.dynamic import DynamicLayer
from srquant.deploy.frozen.layers import FrozenLayer
from srquant.deploy.frozen.matmul import FrozenMatmul
from srquant.devices import has_float64, inference_on
from srquant.errors import EngineError, InputError
from srquant.models.network import Network, device_of, modules_of
from srquant.quantizers.layers import QuantModule
from srquant.upscale.engines.fingerprint import fingerprint
from srquant.upscale.engines.protocol import Images
from srquant.upscale.tiles.tiling import measure_tiling

Precision = Literal["auto", "32", "16", "bf16"]
"""Numbers that a float network computes with: float32, float16, bfloat16; auto: float16 on CUDA, float32 elsewhere."""

DTYPES: dict[str, torch.dtype] = {"32": torch.float32, "16": torch.float16, "bf16": torch.bfloat16}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
"""A forked process has none of PyTorch's threads: with more than one it would wait for the others forever."""


class TorchEngine:
    """PyTorch, on the device that the network is on. Puts the network into evaluation mode.

    Quantized networks compute exactly what the other engines compute, on every device.

    Args:
        network: float, quantized or frozen.
        precision: of a float network. A picture whose result is not finite is computed again in float32, because
            float16 ends at 65504.
        compiled: whether PyTorch compiles a float network. The first pictures then take a minute, later ones less time.

    Raises:
        InputError: an unknown precision, or a precision or compiling for a quantized network.
        EngineError: a quantized network on a device that can't compute in float64.
    """

    def __init__(self, network: Network, precision: Precision = "auto", compiled: bool = False) -> None:
        self.network, self.facts = network.eval(), network.facts
        self.tiling = measure_tiling(self.network)
        self.device = device_of(network)
        self.dtype = dtype_of(network, precision)
        self.name = "torch" if self.dtype == torch.float32 else f"torch {str(self.dtype).removeprefix('torch.')}"
        if compiled and is_quantized(network):
            raise InputError("--compile: only float networks are compiled; leave it out for a quantized one")
        self.run = runner(network, self.dtype, compiled)

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        with inference_on(self.device):
            tensor = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            tensor = tensor.contiguous(memory_format=torch.channels_last)
            upscaled = self.run(tensor.to(self.dtype)).float()
            if self.dtype != torch.float32 and not bool(torch.isfinite(upscaled).all()):
                upscaled = self.network(tensor)
            result: Images = upscaled.cpu().numpy()
        return result

    def fingerprint(self) -> str:
        """See ``Engine``."""
        return fingerprint(self.network, self.name)

    def float_layers(self) -> set[str]:
        """Names of the layers with dynamic ranges.

        PyTorch stores all numbers as float, but computes the other frozen layers with the results of integer
        arithmetic.
        """
        return set(modules_of(self.network.module, DynamicLayer))


def is_quantized(network: Network) -> bool:
    """Whether a network has quantized or frozen layers."""
    return any(isinstance(m, QuantModule | FrozenLayer | FrozenMatmul | DynamicLayer) for m in network.modules())


def check_precision(precision: str) -> None:
    """Raise an ``InputError`` unless ``precision`` is one that ``TorchEngine`` takes."""
    if precision not in ("auto", *DTYPES):
        raise InputError(f"--precision {precision}: use auto, {', '.join(DTYPES)}")


def dtype_of(network: Network, precision: Precision) -> torch.dtype:
    """The type of numbers that a network computes with; errors as ``TorchEngine``."""
    check_precision(precision)
    device = device_of(network)
    if not is_quantized(network):
        return DTYPES[precision] if precision != "auto" else torch.float16 if device.type == "cuda" else torch.float32
    if precision not in ("auto", "32"):
        raise InputError(
            f"--precision {precision}: a quantized network gives the exact results of integer arithmetic; leave it out"
        )
    if not has_float64(device):
        raise EngineError(f"quantized networks need float64, which {device} doesn't have: use --device cpu")
    return torch.float32


def runner(network: Network, dtype: torch.dtype, compiled: bool) -> Callable[[Tensor], Tensor]:
    """The function that upscales pictures of this type; a network of another type is a copy, channels last."""
    if dtype != torch.float32:
        network = copy.deepcopy(network).to(dtype)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    run: Callable[[Tensor], Tensor] = torch.compile(network) if compiled else network
    return run
