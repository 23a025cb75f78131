"""What a run keeps in its folder: the state to continue from, and the curve of the errors."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from srquant.training.checkpoint import fitting, load_fields, save_fields
from srquant.training.log import Log, opened
from srquant.training.run_folder import RunFolder

COLUMNS = ("loss", "held_out_loss", "seconds")
"""Numbers of a row of ``metrics.csv`` besides the step: mean loss since the last row, loss on held-out crops, seconds
since the run was started or continued."""


@dataclass(frozen=True)
class State:
    """Everything that changes while a network learns.

    Attributes:
        steps: number of steps done.
        student: its ``state_dict``.
        optimizer: its ``state_dict``.
        best: ``state_dict`` of the student with the smallest error so far.
        best_error: that error.
        pace: factor of all learning rates, see ``learn.Learning``.
    """

    steps: int
    student: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    best: Mapping[str, Tensor]
    best_error: float
    pace: float


@dataclass(frozen=True)
class Saved:
    """The folder of a run, or none.

    Attributes:
        folder: None where nothing is kept.
    """

    folder: RunFolder | None

    def state(self) -> State | None:
        """The state of a stopped run; None if there is none.

        Raises:
            CheckpointError: the file is damaged.
        """
        if self.folder is None or not self.folder.checkpoint.exists():
            return None
        return load_fields(self.folder.checkpoint, State)

    def fitting(self) -> AbstractContextManager[None]:
        """Raises a ``CheckpointError`` where the state doesn't fit to what it is loaded into."""
        return nullcontext() if self.folder is None else fitting(self.folder.checkpoint)

    def save(self, state: State) -> None:
        """Write the state, completely or not at all."""
        if self.folder is not None:
            save_fields(vars(state), self.folder.checkpoint)

    def log(self, done: int) -> AbstractContextManager[Log | None]:
        """The log, without rows of steps after ``done``."""
        return nullcontext() if self.folder is None else opened(self.folder.metrics, [*COLUMNS], done, None)
