"""PSNR against bits, one line per method."""

from pathlib import Path

import matplotlib
from ptq_results import Entry
from ptq_rows import ROWS

matplotlib.use("Agg")
from matplotlib import pyplot

SETS = ("Set5", "Set14")
FLOAT_BITS = 32
WORST_DB = 5.0
"""Points further below the float network are left out, so that the others can be told apart."""

MARKERS = "osD^vP*Xd<>ph"
COLOURS = 10


def plot(found: list[Entry], path: Path) -> Path | None:
    """Draw the plotted rows of one network; no picture if no row has at least two numbers of bits."""
    labels = [row.label for row in ROWS if row.plotted]
    lines = {label: [e for e in found if e.label == label and e.bits != FLOAT_BITS] for label in labels}
    lines = {label: sorted(line, key=lambda e: e.bits) for label, line in lines.items() if line}
    if all(len(line) < 2 for line in lines.values()):
        return None
    sets = [name for name in SETS if any(e.psnr_y(name) is not None for e in found)]
    figure, panels = pyplot.subplots(
        1, len(sets), figsize=(2 + 4.5 * len(sets), 5), layout="constrained", squeeze=False
    )
    for panel, benchmark in zip(panels[0], sets, strict=True):
        _panel(panel, lines, benchmark, found)
    figure.supxlabel(f"points more than {WORST_DB:g} dB below float are left out", fontsize="small")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _panel(panel: "pyplot.Axes", lines: dict[str, list[Entry]], benchmark: str, found: list[Entry]) -> None:
    best = next((e.psnr_y(benchmark) for e in found if e.bits == FLOAT_BITS), None)
    colours = pyplot.get_cmap("tab10")
    for number, (label, line) in enumerate(lines.items()):
        points = [(e.bits, e.psnr_y(benchmark)) for e in line]
        shown = [(bits, db) for bits, db in points if db is not None and (best is None or db > best - WORST_DB)]
        panel.plot(
            [bits for bits, _ in shown],
            [db for _, db in shown],
            label=label,
            markersize=5,
            color=colours(number % COLOURS),
            marker=MARKERS[number % len(MARKERS)],
            linestyle="-" if number < COLOURS else "--",
        )
    if best is not None:
        panel.axhline(best, color="black", linestyle=":", linewidth=1, label="float")
    panel.set(title=benchmark, xlabel="bits of weights and activations", ylabel="PSNR-Y in dB", xticks=[2, 3, 4, 6, 8])
    panel.grid(alpha=0.3)
