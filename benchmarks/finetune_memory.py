"""Peak memory of quantizing with each method that learns: EDSR 16x64 x4, batch 2, crops of 96 x 96.

    python benchmarks/finetune_memory.py -o docs/results/finetune_memory

Each method runs in its own process with one thread. Memory doesn't grow with the number of steps, so a few steps are
enough.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import report
import torch
from ptq_rows import CALIBRATION
from ptq_run import shared

from srquant.data.calibration import CalibrationSet
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.speed.worker import peak_memory
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network

EDSR_16_64_X4 = (16, 64, 4)
PATCH = 96
BAR_MB = 2000.0
RECIPES = (
    ("minmax", ("finetune=together",)),
    ("ptq4sr", ("iterations=20",)),
    ("adabm", ("epochs=3",)),
    ("2dquant", ("batch=2", "iterations=20")),
    ("outlier-aware", ("epochs=3",)),
    ("gba", ()),
    ("gba", ("mixed=both",)),
    ("gba", ("mode=adam",)),
    ("gba", ("dan_stages=none",)),
)


@dataclass(frozen=True)
class Row:
    """Peak megabytes of a process that quantizes."""

    method: str
    settings: str
    peak_mb: float
    reached: bool


def quantize(method: str, settings: list[str], crops: int) -> None:
    """Quantize a network with random weights, and print the peak memory in bytes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = Network(EDSR(*EDSR_16_64_X4), facts(*EDSR_16_64_X4)).eval()
    calibration, chosen = CalibrationSet(shared() / CALIBRATION, crops, patch=PATCH), METHODS[method]
    chosen.quantize(network, calibration, Policy(LayerBits(4, 4)), configure(chosen.config, settings))
    print(peak_memory("cpu"))


def measure(method: str, settings: tuple[str, ...], crops: int) -> Row:
    """Measure one method in its own process."""
    command = [sys.executable, __file__, "--method", method, "--crops", str(crops), "--settings", *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    finished = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    peak_mb = int(finished.stdout) / 1e6
    return Row(method, " ".join(settings), peak_mb, peak_mb < BAR_MB)


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=10, help="crops per pass")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--settings", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.method:
        quantize(arguments.method, arguments.settings, arguments.crops)
        return
    if arguments.output is None:
        parser.error("give -o, where the table goes")
    rows = []
    for method, settings in RECIPES:
        rows.append(measure(method, settings, arguments.crops))
        print(rows[-1], flush=True)
    about = (
        f"Peak megabytes of a process that quantizes EDSR 16x64 x4 to W4A4, one thread, {arguments.crops} crops of "
        f"{PATCH}x{PATCH}, batch 2. Bar: under {BAR_MB:g} MB."
    )
    columns = {"method": "method", "settings": "settings", "peak_mb": "MB", "reached": "reached"}
    report.write(arguments.output, "Memory of finetuning", about, rows, columns)
    sys.exit(not all(row.reached for row in rows))


if __name__ == "__main__":
    main()
