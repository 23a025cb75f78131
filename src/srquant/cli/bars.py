"""Progress on stderr: bars in a terminal, and elsewhere a plain line now and then."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from srquant.cli.plain_text import one_line


class Step(Protocol):
    """Reports how far a stage is."""

    def __call__(self, stage: str, done: float, total: float, beside: str = "") -> None:
        """Report the number of steps done, of all steps, and what else is worth to be seen."""
        ...


BETWEEN = 30.0
"""Seconds from one plain line to the next, at least."""

Clock = Callable[[], float]


class Pace:
    """How fast a stage goes, from the first report on.

    Args:
        done: steps that were done then.
        clock: seconds.
    """

    def __init__(self, done: float, clock: Clock) -> None:
        self.first, self.begun, self.clock = done, clock(), clock

    def left(self, done: float, total: float) -> str:
        """The time that the other steps will take, such as ``about 3 min left``; empty while nothing is known."""
        if not self.first < done < total:
            return ""
        return f"about {duration((self.clock() - self.begun) * (total - done) / (done - self.first))} left"


class Bars:
    """A bar for each stage.

    Args:
        shown: draws the bars.
        unit: of the steps, with a space before it.
    """

    def __init__(self, shown: RichProgress, unit: str = "") -> None:
        self.shown, self.unit = shown, unit
        self.stages: dict[str, tuple[TaskID, Pace]] = {}

    def step(self, stage: str, done: float, total: float, beside: str = "") -> None:
        """Move the bar of a stage."""
        if stage not in self.stages:
            self.stages[stage] = self.shown.add_task(one_line(stage), beside=""), Pace(done, time.monotonic)
        bar, pace = self.stages[stage]
        known = [counted(done, total, self.unit), pace.left(done, total), one_line(beside)]
        self.shown.update(bar, completed=done, total=total, beside=", ".join(filter(None, known)))


class Lines:
    """A line for a stage when some time has passed since the last line.

    Args:
        unit: of the steps, with a space before it.
        clock: seconds.
    """

    def __init__(self, unit: str = "", clock: Clock = time.monotonic) -> None:
        self.unit, self.clock = unit, clock
        self.last = clock()
        self.paces: dict[str, Pace] = {}

    def step(self, stage: str, done: float, total: float, beside: str = "") -> None:
        """Print a line if it is time to."""
        pace = self.paces.setdefault(stage, Pace(done, self.clock))
        if self.clock() - self.last < BETWEEN:
            return
        self.last = self.clock()
        known = [counted(done, total, self.unit), pace.left(done, total), beside]
        typer.echo(one_line(f"{stage}: {', '.join(filter(None, known))}"), err=True)


@contextmanager
def progress(unit: str = "") -> Iterator[Step]:
    """Show how far each stage is during the block, on stderr; bars vanish before an error is shown.

    Args:
        unit: of the steps, with a space before it; empty: none is shown.
    """
    console = Console(stderr=True)
    if not in_terminal(console):
        yield Lines(unit).step
        return
    stage, beside = (TextColumn(column, markup=False) for column in ("{task.description}", "{task.fields[beside]}"))
    with vanishing(RichProgress(stage, BarColumn(), beside, console=console)) as shown:
        yield Bars(shown, unit).step


@contextmanager
def vanishing(shown: RichProgress) -> Iterator[RichProgress]:
    """Show bars, which stay after the block, but not after an error."""
    with shown:
        try:
            yield shown
        except BaseException:
            shown.live.transient = True
            raise


def in_terminal(console: Console) -> bool:
    """Whether bars can be drawn; variables that make rich write colours to files don't count."""
    return sys.stderr is not None and sys.stderr.isatty() and not console.is_dumb_terminal


def counted(done: float, total: float, unit: str) -> str:
    """Steps done of all, such as ``3/7`` or ``1.5/7 pictures``."""
    return "/".join(f"{value:.1f}".removesuffix(".0") for value in (done, total)) + unit


def duration(seconds: float) -> str:
    """Rounded up to seconds below a minute, else to minutes."""
    if seconds <= 59:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
