"""Where and how an engine computes: the values of ``--engine``, ``--device``, ``--precision`` and their like."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch

    from srquant.deploy.openvino.float_precision import FloatPrecision
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
        float_precision: of what isn't quantized, in OpenVINO.
    """

    engine: str
    device: "torch.device"
    chosen: bool
    precision: "Precision"
    compiled: bool
    float_precision: "FloatPrecision"

    def open_engine(self, network: "Network", threads: int | None) -> "Engine":
        """The engine for a network, which stays on the CPU: on another device the engine has a copy.

        Raises:
            InputError: the engine can't compute this network in this way.
            EngineError: the engine isn't installed, or can't run this network on this device.
        """
        import torch

        from srquant.devices import CPU, has_float64
        from srquant.upscale.engines.open_engine import open_engine
        from srquant.upscale.engines.torch_engine import is_quantized

        device = CPU if self.chosen and not has_float64(self.device) and is_quantized(network) else self.device
        moved = network if device == CPU else copy.deepcopy(network).to(device)
        if threads is not None:
            torch.set_num_threads(threads)  # PyTorch has one number for the whole process
        return open_engine(self.engine, moved, threads, self.precision, self.compiled, self.float_precision)


def find_place(device: str, engine: str, precision: str, compiled: bool, float_precision: str) -> EnginePlace:
    """The place that the options name; ``--device auto`` is the CPU for engines that compute nowhere else.

    Raises:
        InputError: a value that doesn't exist, a device that this machine doesn't have, or an engine that doesn't
            compute there or in this way.
        EngineError: this machine doesn't compute in that precision.
    """
    from srquant.deploy.openvino.float_precision import check_float_precision
    from srquant.devices import CPU, find_device
    from srquant.upscale.engines.open_engine import EXPORTING_ENGINES, check_knows_float_precision, needs_torch
    from srquant.upscale.engines.torch_engine import check_precision

    check_precision(precision)
    unquantized = check_float_precision(float_precision)
    on_cpu = engine in EXPORTING_ENGINES or unquantized != "f32"
    found = CPU if device == "auto" and on_cpu else find_device(device)
    check_knows_float_precision(engine, found, unquantized)
    needs_torch(engine, found, precision, compiled)
    return EnginePlace(engine, found, device == "auto", cast("Precision", precision), compiled, unquantized)
