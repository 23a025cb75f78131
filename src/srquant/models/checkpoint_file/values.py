"""Values of weights: plain float tensors of this file's size, finite, and of a magnitude that networks have."""

from pathlib import Path

import torch
from torch import Tensor

from srquant.errors import CheckpointError
from srquant.models.checkpoint_file.limits import most_bytes, too_large
from srquant.models.layout import Weights

LARGEST = 1e12
"""Magnitude of a weight, bound, bias or scale. Values of published networks are far below a millionth of it; sums of
products of two such values are finite in float32."""

FLOATS = (
    *(torch.float32, torch.float16, torch.bfloat16, torch.float64),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz),
)
"""Types of weights; all become float32."""

OTHERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Types of what networks keep beside weights: counters, positions, masks."""


def plain(weights: Weights, path: Path) -> Weights:
    """Checked weights: floating point ones in float32.

    Args:
        weights: by name, on the CPU; their values aren't read before layouts and sizes are checked.
        path: for messages and the file's size.

    Raises:
        CheckpointError: a tensor isn't plain, a weight isn't floating point, not finite or absurdly large, or together
            they are many times as large as the file.
    """
    for name, tensor in weights.items():
        _check_kind(name, tensor, path)
    _check_size(weights, path)
    converted = {name: t.detach().float() if t.is_floating_point() else t.detach() for name, t in weights.items()}
    for name, tensor in converted.items():
        _check_magnitude(name, tensor, path)
    return converted


def check_floating(name: str, tensor: Tensor, where: str) -> None:
    """Raise a ``CheckpointError`` unless a weight has floating point numbers; ``where`` begins the message."""
    if not tensor.is_floating_point():
        raise CheckpointError(
            f"{where}{name} has numbers of {tensor.dtype}; weights are floating point numbers: save the float network"
        )


def magnitude_problem(tensor: Tensor) -> str | None:
    """What is wrong with the values of a tensor of any type, as the end of a sentence; None for nothing."""
    if not tensor.is_floating_point() or tensor.numel() == 0:
        return None
    lowest, highest = tensor.aminmax()
    largest = float(torch.maximum(-lowest, highest))
    if not largest < float("inf"):
        return "contains NaN or infinity"
    return f"contains {largest:.3g}, more than {LARGEST:g}" if largest > LARGEST else None


def _check_kind(name: str, tensor: Tensor, path: Path) -> None:
    layout, device = tensor.layout, tensor.device.type
    if type(tensor) not in (Tensor, torch.nn.Parameter) or layout != torch.strided or tensor.is_nested:
        raise CheckpointError(f"{path}: {name} is a {type(tensor).__name__} of layout {layout}; save plain tensors")
    if device != "cpu":
        raise CheckpointError(f"{path}: {name} is a tensor of device {device}, without values; save it on the CPU")
    if tensor.dtype not in (*FLOATS, *OTHERS) or name.rpartition(".")[2] in ("weight", "bias"):
        check_floating(name, tensor, f"{path}: ")
    if tensor.is_floating_point() and tensor.dtype not in FLOATS:
        raise CheckpointError(f"{path}: {name} has numbers of {tensor.dtype}, which can't be read; save it as float32")


def _check_size(weights: Weights, path: Path) -> None:
    total = sum(4 * tensor.numel() for tensor in weights.values())
    if total > most_bytes(path):
        largest = max(weights, key=lambda name: weights[name].numel())
        shape = " x ".join(map(str, weights[largest].shape))
        raise too_large(path, f"its weights would take {total:,} bytes, {largest} alone is {shape}")


def _check_magnitude(name: str, tensor: Tensor, path: Path) -> None:
    problem = magnitude_problem(tensor)
    if problem is not None:
        raise CheckpointError(f"{path}: {name} {problem}; the training diverged, use an earlier checkpoint")
