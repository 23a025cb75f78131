"""An engine by its name. A new engine is a file beside this one and a line in ``EXPORTING_ENGINES``."""

from collections.abc import Callable
from functools import partial

import torch

from srquant.deploy.openvino.float_precision import FloatPrecision
from srquant.devices import CPU
from srquant.errors import EngineError, InputError, suggest
from srquant.insertion.branched_network import BranchedNetwork
from srquant.models.network import Network, device_of
from srquant.upscale.engines.branching_engine import BranchingEngine
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.engines.torch_engine import Precision, TorchEngine
from srquant.upscale.engines.triton_engine import TritonEngine

AUTO, TORCH, TRITON, OPENVINO = "auto", "torch", "triton", "openvino"
"""The fastest engine, those that run the network itself on its device, and the one that knows ``FloatPrecision``."""

EXPORTING_ENGINES: dict[str, Callable[[Network, int | None], Engine]] = {
    OPENVINO: OpenVINOEngine,
    "onnxruntime": OnnxRuntimeEngine,
}
"""Engines that run an exported network, fastest first."""


def open_engine(
    name: str,
    network: Network,
    threads: int | None = None,
    precision: Precision = "auto",
    compiled: bool = False,
    float_precision: FloatPrecision = "f32",
) -> Engine:
    """The engine called ``name``; ``auto`` is the fastest that can run this network on its device.

    Args:
        name: ``auto``, ``torch``, ``triton``, ``openvino`` or ``onnxruntime``.
        network: float or frozen, on the device that shall compute; only ``torch`` and ``triton`` compute on other
            devices than the CPU.
        threads: number of threads to compute with, all cores by default; ``torch`` and ``triton`` ignore it and use the
            number set for the whole process with ``torch.set_num_threads``.
        precision: of a float network in ``torch``; the other engines compute float networks in float32.
        compiled: whether ``torch`` compiles a float network.
        float_precision: of what isn't quantized, in ``openvino``; ``auto`` is that engine if this is ``bf16``.

    Raises:
        InputError: there is no such engine, or it doesn't compute on this device, in this precision, or compiled.
        EngineError: the engine isn't installed or can't run this network.
    """
    if isinstance(network, BranchedNetwork):
        return BranchingEngine(
            network, lambda branch: open_engine(name, branch, threads, precision, compiled, float_precision)
        )
    check_knows_float_precision(name, device_of(network), float_precision)
    if float_precision != "f32":
        return open_exporting(OPENVINO, partial(OpenVINOEngine, network, threads, float_precision))
    if needs_torch(name, device_of(network), precision, compiled) or name == TORCH:
        return TorchEngine(network, precision, compiled)
    if name == TRITON:
        return TritonEngine(network)
    if name == AUTO:
        return fastest(network, threads)
    return open_exporting(name, partial(EXPORTING_ENGINES[name], network, threads))


def open_exporting(name: str, make: Callable[[], Engine]) -> Engine:
    """An engine of ``EXPORTING_ENGINES``.

    Raises:
        EngineError: it isn't installed or can't run its network.
    """
    try:
        return make()
    except ImportError as error:
        raise EngineError(f"engine {name} can't be loaded ({error}); install it or use --engine torch") from error


def check_knows_float_precision(name: str, device: torch.device, float_precision: FloatPrecision) -> None:
    """Raise an ``InputError`` unless the engine computes in this precision on this device."""
    if float_precision == "f32":
        return
    if name not in (AUTO, OPENVINO) or device != CPU:
        raise InputError(
            f"--float-precision {float_precision}: only engine openvino on the CPU knows it, not {name} on {device}; "
            "use --engine openvino --device cpu"
        )


def needs_torch(name: str, device: torch.device, precision: str = "auto", compiled: bool = False) -> bool:
    """Whether only ``torch`` can do what is asked for.

    Raises:
        InputError: there is no such engine, or another engine than ``torch`` was asked for what only ``torch`` can do.
    """
    known = (AUTO, TORCH, TRITON, *EXPORTING_ENGINES)
    if name not in known:
        raise InputError(f"no engine is called {name!r}; {suggest(name, known)}")
    reasons = {
        f"--device {device}": device != CPU and name != TRITON,
        f"--precision {precision}": precision not in ("auto", "32"),
        "--compile": compiled,
    }
    for option, given in reasons.items():
        if given and name not in (AUTO, TORCH):
            where = "exact integers" if name == TRITON else "on the CPU in float32"
            raise InputError(f"{option}: engine {name} computes {where}; use --engine torch or auto")
    return any(reasons.values())


def fastest(network: Network, threads: int | None) -> Engine:
    """The first of ``EXPORTING_ENGINES`` that can run the network, else PyTorch."""
    for name in EXPORTING_ENGINES:
        try:
            return open_engine(name, network, threads)
        except EngineError:
            continue
    return TorchEngine(network)
