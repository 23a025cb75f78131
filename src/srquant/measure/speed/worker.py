"""A process that runs one exported model whenever it is told to, so that its memory is that model's alone.

    python -m srquant.measure.speed.worker torch|openvino|onnxruntime MODEL HEIGHT WIDTH THREADS

It answers ``run`` with the milliseconds of one inference and ``memory`` with its peak memory in bytes.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from srquant.measure.speed.timing import stopwatch

Images = NDArray[np.float32]
CPU_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""As ``deploy.openvino.model.CPU_OPTIONS``, which can't be imported here without PyTorch."""


def torch_runner(path: str, images: Images, threads: int) -> Callable[[], object]:
    """Run a pickled network in float32, channels last."""
    import torch

    torch.set_num_threads(threads)
    network = torch.load(path, weights_only=False).eval().to(memory_format=torch.channels_last)
    tensor = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)

    def run() -> object:
        with torch.inference_mode():
            return network(tensor)

    return run


def openvino_runner(path: str, images: Images, threads: int) -> Callable[[], object]:
    """Run an OpenVINO model with a fixed shape."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(images.shape))
    request = core.compile_model(model, "CPU", CPU_OPTIONS | {"INFERENCE_NUM_THREADS": threads}).create_infer_request()
    return lambda: request.infer([images], share_inputs=True)


def onnxruntime_runner(path: str, images: Images, threads: int) -> Callable[[], object]:
    """Run an ONNX model."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"image": images})


RUNNERS = {"torch": torch_runner, "openvino": openvino_runner, "onnxruntime": onnxruntime_runner}


def peak_memory() -> int:
    """Most bytes that were resident so far; those resident now where the system doesn't keep the peak."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    info = psutil.Process().memory_info()
    return int(getattr(info, "peak_wset", info.rss))


def main() -> None:
    """Load, run once to warm up, say ``ready``, then answer until the input ends."""
    kind, path, height, width, threads = sys.argv[1:]
    images = np.random.default_rng(0).random((1, 3, int(height), int(width)), np.float32)
    run = stopwatch(RUNNERS[kind](path, images, int(threads)))
    run()
    print("ready", flush=True)
    for line in sys.stdin:
        print(run() if line.strip() == "run" else peak_memory(), flush=True)


if __name__ == "__main__":
    main()
