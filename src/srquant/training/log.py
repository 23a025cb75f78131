"""The log of a run: a CSV file and, if asked for, TensorBoard events."""

import csv
import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from srquant.errors import InputError
from srquant.files import named_errors, write_whole

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Numbers = Mapping[str, float | None]


class Log:
    """Writes rows; create it with ``opened``.

    Args:
        columns: names of the numbers, ``step`` first.
        path: the CSV file.
        events: TensorBoard's writer, or None.
    """

    def __init__(self, columns: list[str], path: Path, events: "SummaryWriter | None") -> None:
        self.columns = columns
        self.path = path
        self.events = events

    def write(self, step: int, numbers: Numbers) -> None:
        """Add a row; the column of a None stays empty."""
        row = {"step": step, **numbers}
        with named_errors(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
        if self.events is not None:
            for name, value in numbers.items():
                if value is not None:
                    self.events.add_scalar(name, value, step)


@contextmanager
def opened(path: Path, names: list[str], done: int, tensorboard: Path | None) -> Iterator[Log]:
    """Open the log of a new or continued run.

    Rows of steps after ``done``, which a stopped process has written after its last checkpoint, are removed.

    Args:
        path: the CSV file.
        names: of the numbers in a row, without ``step``.
        done: number of steps in the checkpoint that the run continues from, 0 for a new run.
        tensorboard: folder for events, or None.

    Raises:
        InputError: events are asked for, but TensorBoard isn't installed.
    """
    columns = ["step", *names]
    lines = [",".join(columns), *_rows(path, columns, done)] if path.exists() else [",".join(columns)]
    events = _events(tensorboard, done) if tensorboard is not None else None
    write_whole(path, ("\n".join(lines) + "\n").encode())
    try:
        yield Log(columns, path, events)
    finally:
        if events is not None:
            events.close()


def check_tensorboard() -> None:
    """Raise an ``InputError`` unless TensorBoard is installed."""
    try:
        importlib.import_module("tensorboard")
    except ImportError as error:
        raise InputError(
            "--tensorboard needs TensorBoard: pip install 'srquant[tensorboard]', or leave the option out; "
            "metrics.csv is always written"
        ) from error


def _events(folder: Path, done: int) -> "SummaryWriter":
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done + 1)


def _rows(path: Path, columns: list[str], done: int) -> list[str]:
    """Whole rows of steps up to ``done``, with these columns; what an earlier release didn't log stays empty."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
    kept = [row for row in rows if row.get("step", "").isdecimal() and int(row["step"]) <= done]
    return [",".join(row.get(name, "") for name in columns) for row in kept]
