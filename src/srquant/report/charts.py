"""Charts of a page, as SVG elements whose ink has the page's colour."""

import html
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INCH_PER_NAME, LEAST_WIDTH, MOST_WIDTH = 0.16, 4.0, 16.0
ROW_HEIGHT, NAMES_HEIGHT = 0.9, 0.9
LINE_SIZE = (6.0, 2.8)
"""In inches."""

FEW = 20
"""Lines of fewer points show their points."""

INK = "#000000"
"""Matplotlib's colour of axes; the page replaces it by its own."""

NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))

COLOURS = ("#2f7ed8", "#e0792b", "#4d9a4f", "#a05fb4", "#8a8a8a", "#c24b4b")
"""Visible on light and on dark ground; the first two can also be told apart by people who don't see red or green."""


@dataclass(frozen=True)
class Bars:
    """A row of bars.

    Attributes:
        label: above the row.
        names: under each bar.
        series: one or two heights for each name, by what they are; None where it isn't known.
    """

    label: str
    names: Sequence[str]
    series: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Line:
    """A line.

    Attributes:
        label: in the legend.
        places: on the horizontal axis.
        heights: one for each place.
    """

    label: str
    places: Sequence[float]
    heights: Sequence[float]


def bar_chart(title: str, unit: str, rows: Sequence[Bars], logarithmic: bool = False) -> str:
    """Rows of bars below each other, as an ``<svg>`` element.

    Args:
        title: what is shown, for people who can't see the chart.
        unit: of the heights.
        rows: at least one.
        logarithmic: whether heights are shown by their logarithm.
    """
    widest = max(len(row.names) for row in rows)
    width = min(max(LEAST_WIDTH, 1.5 + INCH_PER_NAME * widest), MOST_WIDTH)
    with _style():
        named = [number for number, row in enumerate(rows) if row is rows[-1] or row.names != rows[number + 1].names]
        height = ROW_HEIGHT * len(rows) + NAMES_HEIGHT * len(named)
        figure = Figure(figsize=(width, height), layout="constrained")
        for number, row in enumerate(rows):
            axes = figure.add_subplot(len(rows), 1, number + 1)
            _draw_bars(axes, row, unit, logarithmic)
            axes.tick_params("x", labelbottom=number in named)
        return _svg(figure, title)


def line_chart(title: str, unit: str, lines: Sequence[Line], logarithmic: bool = False) -> str:
    """Lines over a common axis, as an ``<svg>`` element.

    Args:
        title: what is shown, for people who can't see the chart.
        unit: of the places on the horizontal axis.
        lines: at most as many as there are ``COLOURS``.
        logarithmic: whether heights are shown by their logarithm.
    """
    with _style():
        figure = Figure(figsize=LINE_SIZE, layout="constrained")
        axes = figure.add_subplot()
        for line, colour in zip(lines, COLOURS, strict=False):
            marker = "." if len(line.places) < FEW else None
            axes.plot(line.places, line.heights, color=colour, label=line.label, marker=marker)
        axes.set_xlabel(unit)
        _finish(axes, logarithmic, legend=len(lines) > 1)
        return _svg(figure, title)


def _style() -> AbstractContextManager[None]:
    """Text stays text, in small letters."""
    return matplotlib.rc_context({"svg.fonttype": "none", "font.size": 8})


def _draw_bars(axes: Axes, row: Bars, unit: str, logarithmic: bool) -> None:
    wide = 0.8 / len(row.series)
    for number, (name, heights) in enumerate(row.series.items()):
        known = [(place, height) for place, height in enumerate(heights) if height is not None]
        places = [place + wide * (number - (len(row.series) - 1) / 2) for place, _ in known]
        axes.bar(places, [height for _, height in known], wide, color=COLOURS[number], label=name)
    axes.set_title(row.label, loc="left", fontsize=9)
    axes.set_ylabel(unit)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xticks(range(len(row.names)), row.names, rotation=90, fontsize=6)
    axes.set_xlim(-0.6, len(row.names) - 0.4)
    _finish(axes, logarithmic, legend=len(row.series) > 1)


def _finish(axes: Axes, logarithmic: bool, legend: bool) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    if logarithmic:
        axes.set_yscale("log")
    if legend:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)


def _svg(figure: Figure, title: str) -> str:
    """The ``<svg>`` element alone, with a title and its ink in the page's colour."""
    content = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title}):
        figure.savefig(content, format="svg", transparent=True, metadata=NO_METADATA)
    _, start, rest = content.getvalue().partition("<svg ")
    return f'{start}role="img" aria-label="{html.escape(title)}" {rest}'.replace(INK, "currentColor")
