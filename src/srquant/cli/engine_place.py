"""Where and how an engine computes: the values of ``--engine``, ``--device``, ``--precision`` and ``--compile``."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch

    from srquant.models.network import Network
    from srquant.upscale.engines.protocol import Engine
    from srquant.upscale.engines.torch_engine import Precision


@dataclass(frozen=True)
class EnginePlace:
    """The engine, the device, and how the engine computes there.

    Attributes:
        engine: name of the engine.
        device: where it computes.
        chosen: whether srquant chose the device (``auto``).
        precision: of a float network in PyTorch.
        compiled: whether PyTorch compiles a float network.
    """

    engine: str
    device: "torch.device"
    chosen: bool
    precision: "Precision"
    compiled: bool

    def open_engine(self, network: "Network", threads: int | None) -> "Engine":
        """The engine for a network, which stays on the CPU: on another device the engine has a copy.

        Raises:
            InputError: the engine can't compute this network in this way.
            EngineError: the engine isn't installed, or can't run this network on this device.
        """
        from srquant.devices import CPU, has_float64
        from srquant.upscale.engines.open_engine import open_engine
        from srquant.upscale.engines.torch_engine import is_quantized

        device = CPU if self.chosen and not has_float64(self.device) and is_quantized(network) else self.device
        moved = network if device == CPU else copy.deepcopy(network).to(device)
        return open_engine(self.engine, moved, threads, self.precision, self.compiled)


def find_place(device: str, engine: str, precision: str, compiled: bool) -> EnginePlace:
    """The place that the options name; ``--device auto`` is the CPU for engines that compute nowhere else.

    Raises:
        InputError: a value that doesn't exist, a device that this machine doesn't have, or an engine that doesn't
            compute there or in this way.
    """
    from srquant.devices import CPU, find_device
    from srquant.upscale.engines.open_engine import EXPORTING_ENGINES, needs_torch
    from srquant.upscale.engines.torch_engine import check_precision

    check_precision(precision)
    found = CPU if device == "auto" and engine in EXPORTING_ENGINES else find_device(device)
    needs_torch(engine, found, precision, compiled)
    return EnginePlace(engine, found, device == "auto", cast("Precision", precision), compiled)
