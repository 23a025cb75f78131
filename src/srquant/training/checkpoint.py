"""The full state of a run: what it needs to go on as if it had never stopped.

Crops and random numbers of a step follow from the seed and the step, so there is no random state to keep.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srquant.errors import CheckpointError
from srquant.files import write_whole

VERSION = 1


@dataclass(frozen=True)
class State:
    """Everything that changes in training.

    Attributes:
        steps: done so far.
        student: its ``state_dict``.
        optimizer: its ``state_dict``.
        averages: of parameters by name; empty where none are kept.
    """

    steps: int
    student: dict[str, Tensor]
    optimizer: dict[str, Any]
    averages: dict[str, Tensor]


def save_state(state: State, path: Path) -> None:
    """Write a state; the file is the earlier one or this one, never a part."""
    content = io.BytesIO()
    torch.save({"version": VERSION, **vars(state)}, content)
    write_whole(path, content.getbuffer())


def load_state(path: Path) -> State:
    """Read a state; runs no code from the file.

    Raises:
        CheckpointError: damaged, or from another version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if content.pop("version") == VERSION:
            return State(**content)
        reason = "from another version"
    except Exception as error:  # damage makes torch.load raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
    raise CheckpointError(f"can't continue from {path} ({reason}): use --overwrite to start anew")
