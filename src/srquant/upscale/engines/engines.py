"""Three ways to run a network: PyTorch (the reference), OpenVINO (fast on CPUs), ONNX Runtime (portable)."""

from collections import OrderedDict
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from srquant.errors import EngineError, InputError, suggest
from srquant.insertion.branched_network import BranchedNetwork
from srquant.models.network import Network
from srquant.upscale.engines.branching import BranchingEngine
from srquant.upscale.tiles.support import Support, device_of, measure_support

Images = NDArray[np.float32]

KEPT_SHAPES = 2
"""Input shapes for which OpenVINO keeps a compiled model."""


class Engine(Protocol):
    """Runs one network.

    Attributes:
        name: ``torch``, ``openvino`` or ``onnxruntime``.
        network: what it runs.
        support: what tiles of the network must respect.
    """

    name: str
    network: Network
    support: Support

    def __call__(self, images: Images) -> Images:
        """Upscale ``N x 3 x H x W`` RGB in [0, 1] to ``N x 3 x scale*H x scale*W`` around [0, 1], not clipped."""
        ...


class TorchEngine:
    """PyTorch, on the device that the network is on. Puts the network into evaluation mode."""

    name = "torch"

    def __init__(self, network: Network) -> None:
        self.network = network.eval()
        self.support = measure_support(self.network)
        self.device = device_of(network)

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        with torch.inference_mode():
            tensor = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
            result: Images = self.network(tensor.contiguous(memory_format=torch.channels_last)).cpu().numpy()
        return result


class OpenVINOEngine:
    """OpenVINO in float32 arithmetic except where the network itself is integer.

    Fixed shapes run faster than dynamic ones, so each new shape is compiled; the last two stay.

    Args:
        network: float or frozen.
        threads: to compute with; all cores by default.

    Raises:
        EngineError: the network has a part that can't be exported.
    """

    name = "openvino"

    def __init__(self, network: Network, threads: int | None = None) -> None:
        import openvino

        from srquant.deploy.openvino.model import CPU_OPTIONS, to_openvino

        self.network = network
        self.support = measure_support(network)
        self.core = openvino.Core()
        self.model = to_openvino(network)
        self.compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()
        self.options: dict[str, Any] = dict(CPU_OPTIONS)
        if threads is not None:
            self.options["INFERENCE_NUM_THREADS"] = threads

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        request = self.request(images.shape)
        result: Images = request.infer([np.ascontiguousarray(images)], share_inputs=True)[0]
        return result

    def request(self, shape: tuple[int, ...]) -> Any:
        """The inference request for one input shape."""
        if shape not in self.compiled:
            while len(self.compiled) >= KEPT_SHAPES:
                self.compiled.popitem(last=False)
            model = self.model.clone()
            model.reshape(list(shape))
            self.compiled[shape] = self.core.compile_model(model, "CPU", self.options).create_infer_request()
        self.compiled.move_to_end(shape)
        return self.compiled[shape]


class OnnxRuntimeEngine:
    """ONNX Runtime on the CPU; arguments and errors as ``OpenVINOEngine``."""

    name = "onnxruntime"

    def __init__(self, network: Network, threads: int | None = None) -> None:
        import onnxruntime

        from srquant.deploy.onnx.model import to_onnx

        self.network = network
        self.support = measure_support(network)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        model = to_onnx(network).SerializeToString()
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        result: Images = self.session.run(["upscaled"], {"image": np.ascontiguousarray(images)})[0]
        return result


FAST_ENGINES: dict[str, type[OpenVINOEngine | OnnxRuntimeEngine]] = {
    "openvino": OpenVINOEngine,
    "onnxruntime": OnnxRuntimeEngine,
}
"""Engines that need an export, fastest first."""


def open_engine(name: str, network: Network, threads: int | None = None) -> Engine:
    """The engine called ``name``; ``auto`` is the fastest that can run this network.

    Args:
        name: ``auto``, ``torch``, ``openvino`` or ``onnxruntime``.
        network: float or frozen.
        threads: to compute with, all cores by default; ``torch`` keeps to the process-wide ``torch.set_num_threads``.

    Raises:
        InputError: there is no such engine.
        EngineError: the engine isn't installed or can't run this network.
    """
    if isinstance(network, BranchedNetwork):
        return BranchingEngine(network, partial(open_engine, name, threads=threads))
    if name == "auto":
        return fastest(network, threads)
    if name == "torch":
        return TorchEngine(network)
    if name not in FAST_ENGINES:
        raise InputError(f"no engine is called {name!r}; {suggest(name, ['auto', 'torch', *FAST_ENGINES])}")
    try:
        return FAST_ENGINES[name](network, threads)
    except ImportError as error:
        raise EngineError(f"engine {name} can't be loaded ({error}); install it or use --engine torch") from error


def fastest(network: Network, threads: int | None) -> Engine:
    """OpenVINO if it can run the network, else ONNX Runtime, else PyTorch."""
    for name in FAST_ENGINES:
        try:
            return open_engine(name, network, threads)
        except EngineError:
            continue
    return TorchEngine(network)
