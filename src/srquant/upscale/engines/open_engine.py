"""An engine by its name. A new engine is a file beside this one and a line in ``EXPORTING_ENGINES``."""

from collections.abc import Callable
from functools import partial

from srquant.errors import EngineError, InputError, suggest
from srquant.insertion.branched_network import BranchedNetwork
from srquant.models.network import Network
from srquant.upscale.engines.branching_engine import BranchingEngine
from srquant.upscale.engines.onnxruntime_engine import OnnxRuntimeEngine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.engines.triton_engine import TritonEngine

EXPORTING_ENGINES: dict[str, Callable[[Network, int | None], Engine]] = {
    "openvino": OpenVINOEngine,
    "onnxruntime": OnnxRuntimeEngine,
}
"""Engines that run an exported network, fastest first."""

DEVICE_ENGINES: dict[str, Callable[[Network], Engine]] = {"torch": TorchEngine, "triton": TritonEngine}
"""Engines that run the network itself, on its device."""


def open_engine(name: str, network: Network, threads: int | None = None) -> Engine:
    """The engine called ``name``; ``auto`` is the fastest that can run this network.

    Args:
        name: ``auto``, ``torch``, ``triton``, ``openvino`` or ``onnxruntime``.
        network: float or frozen.
        threads: number of threads to compute with, all cores by default; ``torch`` and ``triton`` ignore it and use
            the number set for the whole process with ``torch.set_num_threads``.

    Raises:
        InputError: there is no such engine.
        EngineError: the engine isn't installed or can't run this network.
    """
    if isinstance(network, BranchedNetwork):
        return BranchingEngine(network, partial(open_engine, name, threads=threads))
    if name == "auto":
        return fastest(network, threads)
    if name in DEVICE_ENGINES:
        return DEVICE_ENGINES[name](network)
    if name not in EXPORTING_ENGINES:
        known = ["auto", *DEVICE_ENGINES, *EXPORTING_ENGINES]
        raise InputError(f"no engine is called {name!r}; {suggest(name, known)}")
    try:
        return EXPORTING_ENGINES[name](network, threads)
    except ImportError as error:
        raise EngineError(f"engine {name} can't be loaded ({error}); install it or use --engine torch") from error


def fastest(network: Network, threads: int | None) -> Engine:
    """The first of ``EXPORTING_ENGINES`` that can run the network, else PyTorch."""
    for name in EXPORTING_ENGINES:
        try:
            return open_engine(name, network, threads)
        except EngineError:
            continue
    return TorchEngine(network)
