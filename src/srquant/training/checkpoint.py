"""Save and load the full state of a run, so that it continues exactly as if it had not been stopped.

The crops and random numbers of a step depend only on the seed and the step, so no random state is saved.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import torch
from torch import Tensor

from srquant.errors import CheckpointError, first_line
from srquant.files import write_whole

VERSION = 1

Fields = TypeVar("Fields")


@dataclass(frozen=True)
class State:
    """Everything that changes during training.

    Attributes:
        steps: number of steps done so far.
        student: its ``state_dict``.
        optimizer: its ``state_dict``.
        averages: moving averages of parameters by name; empty if none are kept.
    """

    steps: int
    student: dict[str, Tensor]
    optimizer: dict[str, Any]
    averages: dict[str, Tensor]


def with_present_names(state: dict[str, Tensor], earlier: Mapping[str, str]) -> dict[str, Tensor]:
    """A state with the names of today.

    Args:
        state: by names such as ``network.module.head.weight_quantizer.step``.
        earlier: what stands behind the last point, then -> now.
    """

    def present(name: str) -> str:
        owner, _, last = name.rpartition(".")
        return f"{owner}.{earlier[last]}" if last in earlier else name

    return {present(name): value for name, value in state.items()}


def save_state(state: State, path: Path) -> None:
    """Write a state; if the process is killed meanwhile, the earlier file stays complete."""
    save_fields(vars(state), path)


def load_state(path: Path) -> State:
    """Read a state without running any code stored in the file.

    Raises:
        CheckpointError: damaged, or from another version.
    """
    return load_fields(path, State)


def save_fields(fields: Mapping[str, Any], path: Path) -> None:
    """Write numbers, tensors, and lists and dictionaries of them, by name; completely or not at all."""
    content = io.BytesIO()
    torch.save({"version": VERSION, **fields}, content)
    write_whole(path, content.getbuffer())


def load_fields(path: Path, kind: type[Fields]) -> Fields:
    """What ``save_fields`` wrote of a dataclass; no code that is stored in the file runs.

    Raises:
        CheckpointError: damaged, or from another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        version = content.pop("version")
        loaded = kind(**content)
    except Exception as error:  # for a damaged file torch.load raises many kinds of exceptions
        raise cannot_continue(path, first_line(error)[:120]) from error
    if version != VERSION:
        raise cannot_continue(path, "from another version")
    for name, wanted in get_type_hints(kind).items():
        if not isinstance(getattr(loaded, name), get_origin(wanted) or wanted):
            raise cannot_continue(path, f"{name} is a {type(getattr(loaded, name)).__name__}")
    return loaded


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Raise a ``CheckpointError`` where a state, read from a file, doesn't fit to the networks and the optimizer."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise cannot_continue(path, first_line(error)[:120]) from error


def cannot_continue(path: Path, reason: str) -> CheckpointError:
    """The error for a file that a run can't continue from."""
    return CheckpointError(f"can't continue from {path} ({reason}): use --overwrite to start again from step 0")
