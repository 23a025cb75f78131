"""Learned steps and shifts over a training run: deviation, smallest and largest one (QuantSR Fig. 1, 2)."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srquant.analyse.result_files import Files, csv_file, png_file
from srquant.errors import InputError
from srquant.methods.quantsr.statistics import MOMENTS

NAMES = ("steps.csv", "steps.png")

STEP, CHANGE, SHORTCUT = "step", "gradient_change", "shortcut."

PARAMETERS = {
    "weight_step": "step of weights",
    "activation_step": "step of activations",
    "shift": "shift of activations",
}

SMALLEST = 1e-3
"""Least height of the axis of changes, for runs without redistribution."""

MOST_BOXES = 20
"""In one chart; of a longer log rows at equal distances."""

Columns = dict[str, list[float]]
"""Numbers of a log by their name; empty cells are NaN."""


def read_log(path: Path) -> Columns:
    """The log of a run.

    Raises:
        InputError: it is missing or empty, not QuantSR's, or of an earlier srquant.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"can't read {path} ({error.strerror}): give the folder of a run of srquant train") from error
    wanted = [STEP, CHANGE, *(f"{name}_{moment}" for name in PARAMETERS for moment in MOMENTS)]
    missing = [name for name in wanted if not rows or name not in rows[0]]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}: give a run of 'srquant train --method quantsr' of this version"
            if rows
            else f"{path} has no rows yet: let the run go on"
        )
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


def step_files(columns: Columns) -> Files:
    """The variances and ranges, and a figure of all statistics."""
    names = [f"{name}_{moment}" for name in PARAMETERS for moment in MOMENTS]
    variances = {f"{name}_variance": [std**2 for std in columns[f"{name}_std"]] for name in PARAMETERS}
    shown = {STEP: columns[STEP], **{name: columns[name] for name in names}, **variances, CHANGE: columns[CHANGE]}
    table = csv_file(list(shown), zip(*shown.values(), strict=True))
    return dict(zip(NAMES, (table, png_file(_figure(columns))), strict=True))


def _figure(columns: Columns) -> Figure:
    factors = {name.removeprefix(SHORTCUT): of for name, of in columns.items() if name.startswith(SHORTCUT)}
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplots(2, 3)
    for place, (name, title) in zip(axes[0], PARAMETERS.items(), strict=True):
        _draw_boxes(place, columns, name, title)
    axes[1, 0].set_title("variance over layers or channels", loc="left", fontsize=9)
    for name, title in PARAMETERS.items():
        axes[1, 0].plot(columns[STEP], [std**2 for std in columns[f"{name}_std"]], label=title)
    axes[1, 0].set_yscale("log")
    axes[1, 0].legend(fontsize=7, frameon=False)
    axes[1, 1].plot(columns[STEP], columns[CHANGE])
    axes[1, 1].set_ylim(0, max(1.2 * np.nanmax(columns[CHANGE]), SMALLEST))
    axes[1, 1].set_title("change of weight gradients by phi", loc="left", fontsize=9)
    for name, of in factors.items():
        axes[1, 2].plot(columns[STEP], of, label=name)
    axes[1, 2].set_title("factors of shortcuts", loc="left", fontsize=9)
    if factors:
        axes[1, 2].legend(fontsize=6, frameon=False, ncols=2)
    for place in axes.ravel():
        place.set_xlabel("step of training", fontsize=8)
        place.tick_params(labelsize=7)
        place.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_boxes(axes: Axes, columns: Columns, name: str, title: str) -> None:
    """Boxes from mean - deviation to mean + deviation, whiskers at the smallest and largest value."""
    every = -(-len(columns[STEP]) // MOST_BOXES)
    places = columns[STEP][::every]
    mean, std, smallest, largest = (columns[f"{name}_{moment}"][::every] for moment in MOMENTS)
    boxes = [
        {"med": m, "q1": m - s, "q3": m + s, "whislo": low, "whishi": high}
        for m, s, low, high in zip(mean, std, smallest, largest, strict=True)
    ]
    width = 0.6 * (places[1] - places[0]) if len(places) > 1 else 1.0
    axes.bxp(boxes, positions=places, widths=width, showfliers=False, manage_ticks=False)
    axes.set_title(f"{title}: mean, deviation, range", loc="left", fontsize=9)
