"""Read the weights of a checkpoint without running any code stored in it."""

import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srquant.errors import CheckpointError, first_line
from srquant.models.layout import Weights

CONTAINERS = ("params_ema", "params", "state_dict", "model")
"""Keys under which training frameworks store the weights; averaged weights come first."""

EXPORTED = (".xml", ".onnx")
"""Suffixes of exported models: a graph for an engine, without the names of weights."""


def is_exported(path: Path) -> bool:
    """Whether a file's name is that of an exported model."""
    return path.suffix.lower() in EXPORTED


def read_weights(path: Path) -> Weights:
    """Weights of a PyTorch or safetensors file by name.

    Containers (``params_ema``, ``params``, ``state_dict``, ``model``) and ``module.`` prefixes are removed.

    Returns:
        CPU tensors; floating point ones are float32 and finite.

    Raises:
        CheckpointError: no such file, damaged, can only be loaded by running code, contains no weights, or contains NaN
            or infinity; or it is an exported model.
    """
    if is_exported(path):
        raise CheckpointError(
            f"{path}: an exported model can be run, but not changed or exported; give the checkpoint or quantized file "
            "that it was made of"
        )
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a checkpoint (.pt, .pth, .safetensors)")
    content = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path)
    weights = {name: _plain(tensor) for name, tensor in _unwrap(content, path).items()}
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(
                f"{path}: {name} contains NaN or infinity; the training diverged, use an earlier checkpoint"
            )
    return weights


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or truncated ({error}); copy the file again") from error


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unusual pickle is either read or refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        blocked = _blocked_globals(path, str(error))
        if not blocked:
            raise _damaged(path, error) from error
        raise CheckpointError(
            f"{path}: refused, because loading it would run code: {', '.join(blocked)}; "
            "if you trust the file, load it with PyTorch and save only its state_dict()"
        ) from error
    except Exception as error:  # for a damaged file torch.load raises many kinds of exceptions
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: not a PyTorch checkpoint, or damaged or truncated ({first_line(error):.120}); copy the file again"
    )


def _blocked_globals(path: Path, message: str) -> list[str]:
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # files older than PyTorch 1.6 can't be listed: name the first blocked global
        return re.findall(r"GLOBAL (\S+)", message)[:1]


def _unwrap(content: Any, path: Path) -> Weights:
    for container in CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path}: contains no state dict (names to tensors); save the network's state_dict()")
    weights: Weights = content
    while all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    return weights


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
