"""A process that runs one exported model on request; it is separate so that its memory is used by that model only.

    python -m srquant.measure.speed.worker torch|openvino|openvino-bf16|onnxruntime MODEL HEIGHT WIDTH THREADS DEVICE

It reads commands from stdin: it answers ``run`` with the milliseconds of one inference, and ``memory`` with its peak
resident memory in bytes, on CUDA with that of the device.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from srquant.deploy.openvino.float_precision import FloatPrecision, cpu_options
from srquant.measure.speed.timing import stopwatch

Images = NDArray[np.float32]


def torch_runner(path: str, images: Images, threads: int, device: str) -> Callable[[], object]:
    """Run a pickled network on a device, channels last, in float32 or, if its weights are, in float16."""
    import torch

    from srquant.devices import full_float32

    torch.set_num_threads(threads)
    network = torch.load(path, weights_only=False).eval().to(device).to(memory_format=torch.channels_last)
    is_half = any(values.dtype == torch.float16 for values in network.state_dict().values())
    tensor = torch.from_numpy(images).to(device, torch.float16 if is_half else torch.float32)
    tensor = tensor.contiguous(memory_format=torch.channels_last)

    def run() -> object:
        with torch.inference_mode(), full_float32():
            result = network(tensor)
            if device != "cpu":
                torch.accelerator.synchronize()
            return result

    return run


def openvino_runner(
    path: str, images: Images, threads: int, device: str, float_precision: FloatPrecision = "f32"
) -> Callable[[], object]:
    """Run an OpenVINO model with a fixed shape, on the CPU."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape(list(images.shape))
    options = cpu_options(float_precision) | {"INFERENCE_NUM_THREADS": threads}
    request = core.compile_model(model, "CPU", options).create_infer_request()
    return lambda: request.infer([images], share_inputs=True)


def onnxruntime_runner(path: str, images: Images, threads: int, device: str) -> Callable[[], object]:
    """Run an ONNX model, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: images})


RUNNERS: dict[str, Callable[[str, Images, int, str], Callable[[], object]]] = {
    "torch": torch_runner,
    "openvino": openvino_runner,
    "openvino-bf16": partial(openvino_runner, float_precision="bf16"),
    "onnxruntime": onnxruntime_runner,
}


def peak_memory(device: str) -> int:
    """Peak memory in bytes: on CUDA of the device, else resident; the current one if the system records no peak."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    info = psutil.Process().memory_info()
    return int(getattr(info, "peak_wset", info.rss))


def main() -> None:
    """Load the model, run it once to warm up, print ``ready``, then answer commands until stdin is closed."""
    kind, path, height, width, threads, device = sys.argv[1:]
    images = np.random.default_rng(0).random((1, 3, int(height), int(width)), np.float32)
    run = stopwatch(RUNNERS[kind](path, images, int(threads), device))
    run()
    print("ready", flush=True)
    for line in sys.stdin:
        print(run() if line.strip() == "run" else peak_memory(device), flush=True)


if __name__ == "__main__":
    main()
