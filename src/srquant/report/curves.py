"""The curves of a run, as a page in its folder."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srquant.report.charts import Line, line_chart
from srquant.report.page import render
from srquant.training.run_folder import RunFolder

STEP = "step"
LOSSES = "loss"
"""In the name of numbers that are shown by their logarithm, in one chart."""

NOT_SHOWN = (STEP, "seconds")


@dataclass(frozen=True)
class Curve:
    """A chart of the page: its heading and its SVG element."""

    heading: str
    svg: str


def write_curves(folder: RunFolder, running: bool) -> None:
    """Write the page of a run; nothing while its log has no rows.

    Args:
        folder: of the run.
        running: whether the page loads itself again from time to time.

    Raises:
        OutputError: it can't be written.
    """
    rows = read_metrics(folder.metrics)
    if not rows:
        return
    values = {"title": folder.path.name, "curves": curves(rows), "running": running}
    render("curves.html", folder.curves, values)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a log without empty cells; none if there is no log."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def curves(rows: Sequence[dict[str, float]]) -> list[Curve]:
    """One chart of all losses, and one of each other number."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in NOT_SHOWN]
    losses = [name for name in names if LOSSES in name]
    others = [name for name in names if name not in losses]
    shown = (
        [Curve("Losses", line_chart("Losses", STEP, [_line(rows, name) for name in losses], True))] if losses else []
    )
    return shown + [Curve(name, line_chart(name, STEP, [_line(rows, name)], False)) for name in others]


def _line(rows: Sequence[dict[str, float]], name: str) -> Line:
    known = [row for row in rows if name in row]
    return Line(name, [row[STEP] for row in known], [row[name] for row in known])
