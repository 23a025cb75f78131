"""What helps when weights learn from the float network: one choice of ``distill`` changed at a time.

    python benchmarks/distill_choices.py -o RUNS --jobs 2                 measure what is not finished, write the table
    python benchmarks/distill_choices.py -o RUNS --assemble docs/results  only the table

EDSR with 8 blocks, x2, one grid per tensor, ``STEPS`` steps. Every row is a process with one thread and writes one JSON
file to RUNS. ``--device cuda`` learns there; ``--learn-only`` leaves measuring to the same command without it, maybe on
another machine. Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from distill_ideas import FEWEST
from distill_variants import Choice, learn_to_file, measure
from ptq_run import write
from report import write as write_report

from srquant.devices import find_device

CHOICES = (
    Choice("distill"),
    Choice("start: float weights, rounded to nearest", start="nearest"),
    Choice("start: GPTQ, weights on grid points", start="on points"),
    Choice("start: GPTAQ", start="gptaq"),
    Choice("start: ranges not narrowed", narrowed=False),
    Choice("loss: root mean square of all crops", loss="squares"),
    Choice("loss: root mean square of each crop", loss="squares by crop"),
    Choice("loss: and features, weight 0.02", feature_weight=0.02),
    *(Choice(f"rate of weights {rate}", learning_rate=rate) for rate in (0.0015, 0.003, 0.006, 0.012)),
    Choice("rate of bounds as of weights", bound_rate=0.006),
    Choice("bounds don't learn", bound_rate=1e-9),
    Choice("9 crops of 32x32", batch=9, patch=32),
    Choice("2 crops of 64x64", batch=2, patch=64),
    Choice("new crops in every step", different=1.0),
    Choice("crops repeated four times", different=0.25),
    Choice("grids per channel", granularity="channel"),
    Choice("moving average of weights, 0.98", average=0.98),
    Choice("oscillation damping", damping=0.02),
    Choice("low-rank changes of weights, rank 8", rank=8),
    Choice("blocks one by one first, a third of the steps", blocks_share=1 / 3),
    Choice("GBA's bits of layers", idea="bits"),
    Choice("GBA's dynamic ranges (DAN)", idea="dan"),
    Choice("outlier-aware's piecewise linear grids", idea="plq"),
    Choice("QuantSR's shift of each channel", idea="shifts"),
    Choice("AdaBM's bits by picture and layer", idea="branches"),
    Choice("4, then 3, then 2 bits, a quarter of the steps each but the last", progressive=True),
)

STEPS = 250
BITS = {"w2a2": 2, "w4a4": 4}

ABOUT = f"""\
One choice of `distill` changed at a time: EDSR with 8 blocks, x2, one grid per tensor, {STEPS} steps, a third of
`normal`. Y-PSNR in dB on Set5 / Set14 of the integer network in OpenVINO; float: 37.80 / 33.37. The first row is
`distill` as it is; a dash means not measured yet, and
choices without any number are left out."""

COLUMNS = {"label": "choice", "w2a2": "W2A2: Set5 / Set14", "w4a4": "W4A4: Set5 / Set14"}


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        label: what is changed.
        w2a2: scores at 2 bits, "Set5 / Set14".
        w4a4: scores at 4 bits.
        psnr_y: scores by bits and set.
    """

    label: str
    w2a2: str
    w4a4: str
    psnr_y: dict[str, list[float]]


def result_path(folder: Path, choice: Choice, bits: str) -> Path:
    """Where a run's result is."""
    name = re.sub("[^a-z0-9]+", "-", choice.label.lower()).strip("-")
    return folder / f"{name}_{bits}.json"


def execute(folder: Path, how: list[str], choice: Choice, bits: str) -> None:
    """Learn and measure in a process of its own, unless that is done."""
    path = result_path(folder, choice, bits)
    if path.exists():
        return
    command = [sys.executable, __file__, "-o", str(folder), *how, "--one", choice.label, bits]
    ended = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    outcome = json.loads(path.read_text())["psnr_y"] if path.exists() else f"ended with code {ended.returncode}"
    print(path.name, outcome, flush=True)


def one(arguments: argparse.Namespace) -> None:
    """Learn, unless that is done, and measure."""
    label, bits = arguments.one
    (choice,) = (choice for choice in CHOICES if choice.label == label)
    path = result_path(arguments.output, choice, bits)
    learned = path.with_suffix(".safetensors")
    if not learned.exists():
        learn_to_file(choice, BITS[bits], STEPS, find_device(arguments.device), learned)
    if not arguments.learn_only:
        write(measure(learned), path)
        learned.unlink()


def row(folder: Path, choice: Choice) -> Row:
    """The line of a choice; a dash where a run isn't finished."""
    paths = {bits: result_path(folder, choice, bits) for bits in BITS}
    found = {bits: json.loads(path.read_text())["psnr_y"] for bits, path in paths.items() if path.exists()}
    texts = {bits: " / ".join(f"{value:.2f}" for value in found.get(bits, [])) or "-" for bits in BITS}
    return Row(choice.label, **texts, psnr_y=found)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--bits", choices=BITS, help="only these")
    parser.add_argument("--assemble", type=Path, metavar="DIR")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--learn-only", action="store_true", help="learn, and measure another time")
    parser.add_argument("--one", nargs=2, metavar=("LABEL", "BITS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one(arguments)
        return
    if not arguments.assemble:
        with ThreadPoolExecutor(arguments.jobs) as pool:
            chosen = [arguments.bits] if arguments.bits else list(BITS)
            todo = [(choice, bits) for bits in chosen for choice in CHOICES if BITS[bits] >= FEWEST.get(choice.idea, 2)]
            how = ["--device", arguments.device, *(["--learn-only"] if arguments.learn_only else [])]
            list(pool.map(lambda run: execute(arguments.output, how, *run), todo))
    rows = [found for choice in CHOICES if (found := row(arguments.output, choice)).psnr_y]
    target = (arguments.assemble or arguments.output) / "distill_choices"
    write_report(target, "What helps when weights learn", ABOUT, rows, COLUMNS)


if __name__ == "__main__":
    main()
