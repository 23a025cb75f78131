"""The fair table: on every network the best published method, rounding by GPTQ and GPTAQ, and ``distill``.

    python benchmarks/fair.py RUNS -o docs/results/fair

RUNS is the folder of ``ptq.py``. Only finished runs are compared; the loss of ``distill`` is divided by that of the
best published method in the same line.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

from ptq_networks import NETWORKS
from ptq_rows import FLOAT_BITS, ROWS
from report import write

SETS = ("Set5", "Set14")
QUICK, TENSOR, CHANNEL = "distill quick", "distill", "distill, grids per channel"
LONG = (
    "distill long",
    "distill long, crops of 64x64",
    "distill long, grids per channel",
    "distill, 2000 steps, grids per channel",
    "distill, 1500 steps, crops of 32x32, grids per channel",
)
OURS = (QUICK, TENSOR, CHANNEL, *LONG)
ROUNDING = ("mse, compensated", "mse, corrected")
SEED_METHODS = ("adabm", "2dquant", "outlier-aware", "gba", "ptq4sr")

COLUMNS = {
    "network": "network",
    "bits": "bits",
    "float_psnr": "float",
    "published": "best published method, any ranges",
    "rounded": "mse, GPTQ or GPTAQ",
    "quick": "distill quick",
    "tensor": "distill",
    "channel": "distill, grids per channel",
    "long": "distill long",
    "share": "loss of the better distill / of the published",
}

ABOUT = """\
Y-PSNR in dB on Set5 / Set14 of the integer networks in OpenVINO, means over the seeds in brackets (calibration crops).
Published methods: the best row by Set5 of GBA, AdaBM, 2DQuant, outlier-aware and PTQ4SR, with published or with
relative rates, rows with GPTQ or GPTAQ left out; its name stands behind. distill: without further words the normal
length and one grid per tensor. Some networks learned on a GPU; ptq_runs.json says which. The last column compares
losses to the float network on Set5; below 0.5 distill loses less than half."""


@dataclass(frozen=True)
class Score:
    """A row of the benchmark at one number of bits.

    Attributes:
        label: of the row.
        method: in ``METHODS``.
        psnr_y: by set, mean over seeds, dB.
        deviation: by set, over seeds.
        seeds: number of finished seeds.
    """

    label: str
    method: str
    psnr_y: dict[str, float]
    deviation: dict[str, float]
    seeds: int

    def text(self) -> str:
        """``37.55 / 33.14 (3)``."""
        return " / ".join(f"{self.psnr_y[name]:.2f}" for name in SETS) + f" ({self.seeds})"


@dataclass(frozen=True)
class Line:
    """A line of the table; see ``COLUMNS``. ``scores`` holds the numbers of all its cells."""

    network: str
    bits: int
    float_psnr: str
    published: str
    rounded: str
    quick: str
    tensor: str
    channel: str
    long: str
    share: float | None
    scores: dict[str, Any]


def finished(folder: Path, network: str) -> dict[int, list[Score]]:
    """The scores of a network by bits."""
    found: dict[tuple[int, str, str], list[dict[str, float]]] = defaultdict(list)
    for path in sorted((folder / network).glob("*.json")):
        content = json.loads(path.read_text())
        if "scores" not in content["result"]:  # quantized, and not measured yet
            continue
        run, scores = content["run"], content["result"]["scores"]
        values = {score["set"]: score["psnr_y"] for score in scores}
        found[run["bits"], run["label"], run["method"]].append(values)
    by_bits = defaultdict(list)
    for (bits, label, method), seeds in found.items():
        by_bits[bits].append(score_of(label, method, seeds))
    return by_bits


def score_of(label: str, method: str, seeds: list[dict[str, float]]) -> Score:
    """Means and deviations over seeds."""
    columns = {name: [values[name] for values in seeds] for name in SETS}
    means = {name: mean(column) for name, column in columns.items()}
    return Score(label, method, means, {name: pstdev(column) for name, column in columns.items()}, len(seeds))


def line(network: str, bits: int, scores: list[Score], reference: Score) -> Line:
    """Compare the scores of one network at one number of bits with the float network's."""
    roundings = {row.label for row in ROWS if any("rounding=" in setting for setting in row.settings)}
    published = best(s for s in scores if s.method in SEED_METHODS and s.label not in roundings)
    rounded = best(s for s in scores if s.label in ROUNDING)
    quick, tensor, channel, long = (
        best(s for s in scores if s.label in labels) for labels in ((QUICK,), (TENSOR,), (CHANNEL,), LONG)
    )
    ours = best(s for s in (tensor, channel, long) if s is not None)
    cells = {
        "published": published,
        "rounded": rounded,
        "quick": quick,
        "tensor": tensor,
        "channel": channel,
        "long": long,
    }
    texts = {name: text(score, named=name in ("published", "rounded", "long")) for name, score in cells.items()}
    kept = {name: vars(score) for name, score in {"float": reference, **cells}.items() if score is not None}
    share = None if ours is None or published is None else loss(ours, reference) / loss(published, reference)
    float_psnr = " / ".join(f"{reference.psnr_y[name]:.2f}" for name in SETS)
    return Line(network, bits, float_psnr, **texts, share=None if share is None else round(share, 3), scores=kept)


def best(scores: Iterable[Score]) -> Score | None:
    """The highest on Set5; None of none."""
    return max(scores, key=lambda score: score.psnr_y["Set5"], default=None)


def loss(score: Score, reference: Score) -> float:
    """What is lost on Set5, dB; at least a thousandth."""
    return max(reference.psnr_y["Set5"] - score.psnr_y["Set5"], 1e-3)


def text(score: Score | None, named: bool) -> str:
    """A cell; empty where nothing is finished."""
    if score is None:
        return ""
    return f"{score.text()}, {score.label}" if named else score.text()


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="path without suffix")
    arguments = parser.parse_args()
    lines = []
    for network in (network.name for network in NETWORKS):
        by_bits = finished(arguments.runs, network)
        reference = best(by_bits.pop(FLOAT_BITS, []))
        if reference is not None:
            ours = {bits: scores for bits, scores in by_bits.items() if any(s.label in OURS for s in scores)}
            lines += [line(network, bits, scores, reference) for bits, scores in sorted(ours.items(), reverse=True)]
    write(arguments.output, "The fair table", ABOUT.replace("\n", " "), lines, COLUMNS)


if __name__ == "__main__":
    main()
