"""Whether Triton's kernels can run."""

import importlib.util
import os

import torch

from srquant.errors import EngineError

INTERPRET = "TRITON_INTERPRET"


def interpreted() -> bool:
    """Whether Triton runs its kernels in Python, slowly and on any device; set before Triton is imported."""
    return os.environ.get(INTERPRET, "") == "1"


def require_triton(device: torch.device) -> None:
    """Check that kernels can run on a device.

    Raises:
        EngineError: Triton isn't installed, or the device isn't a CUDA device and Triton's interpreter is off.
    """
    if importlib.util.find_spec("triton") is None:
        raise EngineError("engine triton needs Triton: pip install 'srquant[triton]' (Linux), or use --engine torch")
    if device.type != "cuda" and not interpreted():
        raise EngineError(
            f"engine triton needs a CUDA device, but the network is on {device}: use --engine openvino or torch; "
            f"{INTERPRET}=1 runs the kernels on the CPU, very slowly"
        )
