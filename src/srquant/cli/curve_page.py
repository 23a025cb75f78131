"""The page of curves in a run's folder, written again while the run goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from srquant.cli.bars import Step
from srquant.training.run_folder import RunFolder

EVERY = 30.0
"""Seconds between two writes."""


@contextmanager
def curve_page(folder: RunFolder, step: Step) -> Iterator[Step]:
    """A ``step`` that also writes ``curves.html`` into the folder of the run from time to time; once more at the end.

    Raises:
        OutputError: it can't be written.
    """
    written = time.monotonic()

    def watched(stage: str, done: float, total: float, beside: str = "") -> None:
        nonlocal written
        step(stage, done, total, beside)
        if time.monotonic() - written >= EVERY:
            write(folder, running=True)
            written = time.monotonic()

    yield watched
    write(folder, running=False)


def write(folder: RunFolder, running: bool) -> None:
    """Write the page; matplotlib is loaded for the first one."""
    from srquant.report.curves import write_curves

    write_curves(folder, running)
