"""``qat.json``, ``qat.md``, ``qat.png``: training with equal steps, and post-training rows of the same bits."""

import csv
import datetime
import json
import statistics
from pathlib import Path
from typing import Any

import matplotlib
from report import machine

matplotlib.use("Agg")
from matplotlib import pyplot

SETS = ("Set5", "Set14", "B100")
NETWORK = "edsr_r8f64_x2"
MOST = 1.5
"""Curves above are cut, so that the others can be told apart."""

ABOUT = """\
EDSR r8f64 x2 in float is where every run starts. True pictures: the 200 of BSDS500's training set; head and tail float,
as these methods have it; {steps} steps of {batch} crops of {patch}x{patch} low-resolution pixels, every method with its
own loss, learning rates and schedule, whose stages keep their share of the run. Published runs have 30,000 to 300,000
steps of 4 to 16 crops: this shows how the machinery learns, not where the methods end. *Before*: the quantized network
that training starts from.
`srquant evaluate` measured the files in the engine that is named. *Post-training*: the row of [ptq.md](ptq.md) with the
best Set5 of the same bits whose ranges are static, and the one of all; their head and tail are 8 bit.
PSNR-Y in dB. *TBitOPs* for a picture of 180x320.
"""


def assemble(folder: Path, output: Path) -> None:
    """Write the tables and curves of all finished runs."""
    found = [json.loads(path.read_text()) | {"home": path.parent} for path in sorted(folder.glob("*/result.json"))]
    if not found:
        raise SystemExit(f"no run is finished in {folder}")
    made = {"machine": machine(), "date": datetime.date.today().isoformat()}
    plain = [{key: value for key, value in run.items() if key != "home"} for run in found]
    output.with_suffix(".json").write_text(json.dumps({**made, "runs": plain}, indent=1) + "\n")
    curves(found, output.with_suffix(".png"))
    first = found[0]
    command = (
        f"python benchmarks/qat.py -o RUNS --steps {first['steps']} --batch {first['batch']} --patch {first['patch']}"
    )
    lines = ["# Quantization-aware training\n", f"`{command}`\n", f"{made['machine']}, {made['date']}\n"]
    lines += [ABOUT.format(**first), f"![Loss while training]({output.stem}.png)\n"]
    rivals = json.loads((output.parent / "ptq.json").read_text())["entries"]
    for bits in sorted({run["bits"] for run in found}):
        lines += [f"## {bits} bits\n", *table([run for run in found if run["bits"] == bits], rivals, bits), ""]
    output.with_suffix(".md").write_text("\n".join(lines))


def table(found: list[dict[str, Any]], rivals: list[dict[str, Any]], bits: int) -> list[str]:
    """One row per method and depth, the post-training rows above them."""
    head = ["", "blocks", *(f"{name} before" for name in SETS), *(f"{name} after" for name in SETS)]
    head += ["TBitOPs", "KB", "ranges", "engine", "s"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --: |" * (len(head) - 1)]
    lines += post_training(rivals, bits)
    ranked = sorted(found, key=lambda run: -run["after"][0]["scores"][0]["psnr_y"])
    return lines + [_line(run, after) for run in ranked for after in run["after"]]


def post_training(rivals: list[dict[str, Any]], bits: int) -> list[str]:
    """Rows of the float network, the best static row and the best of all rows."""
    own = [entry for entry in rivals if entry["network"] == NETWORK]
    lines = [_rival(entry, "float") for entry in own if entry["label"] == "float"]
    same = sorted((entry for entry in own if entry["bits"] == bits), key=lambda entry: -_set5(entry))
    best = {
        entry["label"]: entry for entry in (*(e for e in same[:1]), *[e for e in same if e["ranges"] == "static"][:1])
    }
    return lines + [_rival(entry, f"post-training: {label}") for label, entry in best.items()]


def curves(found: list[dict[str, Any]], path: Path) -> None:
    """Loss against steps, one panel per number of bits; divided by the first value, as losses differ."""
    numbers = sorted({run["bits"] for run in found})
    size = (1.5 + 4.2 * len(numbers), 4)
    figure, panels = pyplot.subplots(1, len(numbers), figsize=size, squeeze=False, layout="constrained")
    labels = list(dict.fromkeys(run["label"] for run in found))
    colours = dict(zip(labels, pyplot.get_cmap("tab10").colors, strict=False))
    for panel, bits in zip(panels[0], numbers, strict=True):
        for run in (run for run in found if run["bits"] == bits):
            steps, losses = logged(run["home"] / "metrics.csv")
            ratio = [loss / losses[0] for loss in smooth(losses)]
            panel.plot(steps, ratio, label=run["label"], color=colours[run["label"]])
        panel.set(title=f"{bits} bits", xlabel="step", yscale="log")
        panel.set_ylim(top=min(MOST, panel.get_ylim()[1]))
        panel.grid(alpha=0.3, which="both")
    panels[0, 0].set_ylabel(f"loss / first loss, cut at {MOST:g}")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def logged(path: Path) -> tuple[list[int], list[float]]:
    """Steps and losses of a run's log."""
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["loss"]]
    return [int(row["step"]) for row in rows], [float(row["loss"]) for row in rows]


def smooth(values: list[float], window: int = 5) -> list[float]:
    """Mean over the last few values."""
    return [statistics.fmean(values[max(0, i + 1 - window) : i + 1]) for i in range(len(values))]


def _line(run: dict[str, Any], after: dict[str, Any]) -> str:
    deepest = after is run["after"][0]
    before = [f"{score['psnr_y']:.2f}" if deepest else "" for score in run["before"]]
    scores = [f"{score['psnr_y']:.2f}" for score in after["scores"]]
    bits = after["bits"]
    cells = [f"{bits['bit_ops'] / 1e12:.2f}", f"{after['size_bytes'] / 1e3:.0f}", bits["ranges"], bits["engine"]]
    seconds = f"{run['seconds']:.0f}" if deepest else ""
    return "| " + " | ".join([run["label"], str(after["depth"]), *before, *scores, *cells, seconds]) + " |"


def _rival(entry: dict[str, Any], label: str) -> str:
    by_set = {score["set"]: f"{score['psnr_y']:.2f}" for score in entry["scores"]}
    scores = [by_set.get(name, "") for name in SETS]
    ops = "" if entry["bit_ops"] is None else f"{entry['bit_ops'] / 1e12:.2f}"
    size = "" if entry["size_bytes"] is None else f"{entry['size_bytes'] / 1e3:.0f}"
    seconds = "" if entry["seconds"] is None else f"{entry['seconds']:.0f}"
    cells = [label, "8", "", "", "", *scores, ops, size, entry["ranges"] or "", entry["engine"] or "", seconds]
    return "| " + " | ".join(cells) + " |"


def _set5(entry: dict[str, Any]) -> float:
    return max((score["psnr_y"] for score in entry["scores"] if score["set"] == "Set5"), default=0.0)
