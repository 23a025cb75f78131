"""The curves of QuantSR's supplement from the log of a run: ``python benchmarks/quantsr_statistics.py RUN_DIR``.

Writes ``RUN_DIR/quantsr_statistics.png``, or the file given by ``-o``: mean and deviation of the learned steps and
shifts during training, change of the weights' gradients by redistribution, and factors of the shortcuts.
"""

import argparse
import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

PARAMETERS = {
    "weight_step": "step of weights",
    "activation_step": "step of activations",
    "shift": "shift of activations",
}
SHORTCUT = "shortcut."

Columns = dict[str, list[float]]


def read_log(path: Path) -> Columns:
    """Columns of a training log; empty fields become NaN."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "weight_step_std" not in rows[0]:
        raise SystemExit(f"{path}: no log of 'srquant train --method quantsr'")
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


def plot(columns: Columns, path: Path) -> None:
    """Draw all curves over the steps."""
    figure, panels = pyplot.subplots(1, len(PARAMETERS) + 2, figsize=(20, 4), layout="constrained")
    for panel, (name, title) in zip(panels, PARAMETERS.items(), strict=False):
        panel.plot(columns["step"], columns[f"{name}_std"], label="standard deviation")
        panel.plot(columns["step"], columns[f"{name}_mean"], label="mean", linestyle="--")
        panel.set(title=f"{title}, over layers")
        panel.legend()
    panels[-2].plot(columns["step"], columns["gradient_change"])
    panels[-2].set(title="relative change of weight gradients", ylim=(0, None))
    for name in (name for name in columns if name.startswith(SHORTCUT)):
        panels[-1].plot(columns["step"], columns[name], label=name.removeprefix(SHORTCUT))
    panels[-1].set(title="factors of shortcuts")
    panels[-1].legend(fontsize="small", ncols=2)
    for panel in panels:
        panel.set_xlabel("step")
        panel.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: list[str]) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run, with metrics.csv")
    parser.add_argument("-o", "--output", type=Path, help="picture to write")
    chosen = parser.parse_args(arguments)
    plot(read_log(chosen.run / "metrics.csv"), chosen.output or chosen.run / "quantsr_statistics.png")


if __name__ == "__main__":
    main(sys.argv[1:])
