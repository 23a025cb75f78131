"""Devices: find one by its name, measure its free memory, and compute on it in full float32 precision."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock

import psutil
import torch
from torch import Tensor

from srquant.errors import InputError

NAMES = "auto, cpu, cuda, cuda:N or mps"
"""Names that ``find_device`` takes."""

CPU = torch.device("cpu")

WITHOUT_FLOAT64 = ("mps",)
"""Types of devices that can't compute in float64."""

ASYNCHRONOUS = ("cuda", "mps")
"""Types of devices that compute while the CPU goes on; asking for a number there means waiting."""


def find_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is the first CUDA device, else mps, else the CPU.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` with the number of a device from 0, or ``mps``.

    Raises:
        InputError: the name has another form, or this machine doesn't have the device.
    """
    found = available_devices()
    if name == "auto":
        return torch.device(next((kind for kind in ("cuda", "mps") if kind in found), "cpu"))
    kind, colon, number = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (colon and not (kind == "cuda" and number.isdecimal())):
        raise InputError(f"--device {name}: use {NAMES}; this machine has {', '.join(found)}")
    if name not in found:
        raise InputError(f"--device {name}: this machine has no such device, only {', '.join(found)}")
    return torch.device(name)


def available_devices() -> list[str]:
    """Names of the devices of this machine: ``cpu``, then ``cuda``, ``cuda:0`` ..., ``mps``."""
    numbers = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    cuda = ["cuda", *(f"cuda:{number}" for number in numbers)] if numbers else []
    return ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]


def free_memory(device: torch.device) -> int:
    """Bytes of memory that tensors on a device can still take; 0 where PyTorch can't tell."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return int(psutil.virtual_memory().available) if device == CPU else 0


def quotient(x: Tensor, number: float | Tensor) -> Tensor:
    """``x / number``, correctly rounded on every device: CUDA multiplies by the inverse of a Python number instead.

    Args:
        x: any shape.
        number: a number, or a tensor on the device of ``x``.
    """
    return x / (number if isinstance(number, Tensor) else divisor(number, x.device))


def divisor(number: float, device: torch.device) -> float | Tensor:
    """A number such that ``x / number`` is correctly rounded on a device, for float32 tensors ``x``."""
    return number if device.type == "cpu" else torch.full((), number, device=device)


def has_float64(device: torch.device) -> bool:
    """Whether a device can compute in float64."""
    return device.type not in WITHOUT_FLOAT64


def double(x: Tensor) -> Tensor:
    """The same values in float64; on the CPU where their device can't compute in float64."""
    return x.double() if has_float64(x.device) else x.cpu().double()


@contextmanager
def without_cudnn(x: Tensor) -> Iterator[None]:
    """Convolve ``x`` on CUDA by matrix products, so that sums of integers that float32 can hold are exact.

    cuDNN may choose Winograd's algorithm, which transforms the integers to fractions and rounds them. On other devices
    nothing changes.
    """
    before = torch.backends.cudnn.enabled
    if x.is_cuda:
        torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        if x.is_cuda:
            torch.backends.cudnn.enabled = before


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 convolutions and matrix products with all 24 bits of their operands; also a decorator.

    CUDA may otherwise round operands to 11 bits (TF32). Rounding to a grid turns such small differences into whole
    steps, so results would differ from those of the CPU.
    """
    with _settings(_precision("ieee", False)):
        yield


ONE_AT_A_TIME = RLock()
"""Held while a device other than the CPU computes a picture."""


@contextmanager
def inference_on(device: torch.device) -> Iterator[None]:
    """Inference in full float32, from any number of threads.

    PyTorch's settings of precision on CUDA belong to the whole process, so devices other than the CPU compute one
    picture at a time.
    """
    with torch.inference_mode(), ExitStack() as stack:
        if device != CPU:
            stack.enter_context(ONE_AT_A_TIME)
            stack.enter_context(full_float32())
        yield


@contextmanager
def tf32_gradients() -> Iterator[None]:
    """Let CUDA round operands to 11 bits (TF32) in convolutions and matrix products; only for passes backward.

    No value of the network is rounded to a grid there, and gradients of single batches are far less exact than that.
    """
    with _settings(_precision("tf32", True)):
        yield


Settings = list[tuple[object, str, object]]
"""Object, attribute and value."""


@contextmanager
def _settings(wanted: Settings) -> Iterator[None]:
    """Change attributes, and change them back at the end."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in wanted]
    for owner, name, value in wanted:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


def _precision(name: str, allow_tf32: bool) -> Settings:
    """PyTorch's settings for the operands' precision: by names since release 2.9, before by flags."""
    convolutions = getattr(torch.backends.cudnn, "conv", None)
    if convolutions is not None:
        return [(owner, "fp32_precision", name) for owner in (convolutions, torch.backends.cuda.matmul)]
    return [(owner, "allow_tf32", allow_tf32) for owner in (torch.backends.cudnn, torch.backends.cuda.matmul)]
