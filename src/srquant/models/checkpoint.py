"""Read the weights of a checkpoint without running any code stored in it."""

from pathlib import Path
from typing import Any

from srquant.errors import CheckpointError, suggest
from srquant.models.checkpoint_file.containers import weights_in
from srquant.models.checkpoint_file.file_kind import files_in, first_bytes, is_safetensors, refuse_other_kinds
from srquant.models.checkpoint_file.limits import header_problem, too_large
from srquant.models.checkpoint_file.pickled import read_pickle
from srquant.models.checkpoint_file.values import plain
from srquant.models.layout import Weights
from srquant.models.packaged import packaged_models

EXPORTED = (".xml", ".onnx")
"""Suffixes of exported models: a graph for an engine, without the names of weights."""


def is_exported(path: Path) -> bool:
    """Whether a file's name is that of an exported model."""
    return path.suffix.lower() in EXPORTED


def read_weights(path: Path) -> Weights:
    """Weights of a PyTorch or safetensors file by name.

    Containers (``params_ema``, ``state_dict``, ``model``, ...) are opened, what stands beside the weights is left out,
    and ``module.`` and names of wrappers are removed. The memory needed is a small multiple of the file's size.

    Returns:
        CPU tensors; floating point ones are float32, finite and at most 1e12; others are no weights.

    Raises:
        CheckpointError: no such file, of another kind, damaged, can only be loaded by running code, contains no
            weights, or weights that aren't plain floating point numbers; or it is an exported model.
    """
    if is_exported(path):
        raise CheckpointError(
            f"{path}: an exported model can be run, but not changed or exported; give the checkpoint or quantized file "
            "that it was made of"
        )
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; {_instead(path)}")
    refuse_other_kinds(path)
    return plain(weights_in(_content(path), path), path)


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors" or is_safetensors(first_bytes(path)):
        return _read_safetensors(path)
    return read_pickle(path)


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    problem = header_problem(path)
    if problem is not None:
        raise too_large(path, problem)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged or truncated ({error}); copy the file again") from error


def _instead(path: Path) -> str:
    """What to give in the place of a missing file: files and packaged networks of similar names, or any checkpoint."""
    advice = suggest(path.name, [*files_in(path.parent), *packaged_models()])
    return advice if advice.startswith("did you mean") else "give a checkpoint (.pt, .pth, .safetensors)"
