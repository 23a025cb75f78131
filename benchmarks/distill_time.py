"""How long ``distill`` takes: a step against one of the float network, and the whole command at two efforts.

    python benchmarks/distill_time.py -o docs/results/distill_time

EDSR with 8 blocks, x2, on all cores, which should be free. Steps take turns in one process: forward, mean absolute
difference, backward, Adam, 4 crops of 48x48. The commands run as processes of their own, as a user starts them.
"""

import argparse
import copy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import report
import torch
from ptq_networks import NETWORKS
from ptq_rows import CALIBRATION
from ptq_run import shared

from srquant.cli.freed_memory import keep_freed_memory
from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lesson, in_layout
from srquant.distillation.loop import Rate, adam, learn_only, step
from srquant.distillation.recipes import distillation
from srquant.grids.range_rules import minmax, mse, symmetric_mse
from srquant.insertion.plan import resolve
from srquant.insertion.policy import Granularity, LayerBits, Policy
from srquant.methods.distill.effort import EFFORTS
from srquant.methods.distill.held_out import DISTANCE
from srquant.methods.distill.method import Distill, without_features
from srquant.methods.distill.rates import own_size_rates
from srquant.methods.distill.start import MOMENTUM
from srquant.methods.ranges.pipeline import Ranges, insert_by_ranges
from srquant.models.load import load_model
from srquant.models.network import Network

NETWORK = NETWORKS[0]
BATCH, PATCH = EFFORTS["normal"].batch, 48
LONGEST_STEP = 1.3
LONGEST = {"quick": 120.0, "normal": 420.0}
GRANULARITIES: tuple[Granularity, ...] = ("tensor", "channel")


@dataclass(frozen=True)
class Row:
    """A measured value and its bar, the largest value that is allowed."""

    what: str
    value: float
    unit: str
    bar: float
    reached: bool


def measured(what: str, value: float, unit: str, bar: float) -> Row:
    """A row that says whether the bar is reached."""
    return Row(what, value, unit, bar, value <= bar)


def student(network: Network, calibration: CalibrationSet, granularity: Granularity) -> Network:
    """The network as distill's learning starts with it, but for the rounding of weights."""
    policy = Policy(LayerBits(4, 4), granularity=granularity, activation_granularity=granularity)
    return insert_by_ranges(
        network, calibration, resolve(network, policy), Ranges(mse, symmetric_mse, MOMENTUM, minmax)
    )


def steps(network: Network, rates: list[Rate], lesson: Lesson) -> Callable[[], float]:
    """A function that takes one step and gives its seconds."""
    optimizer, loss = adam(rates), distillation(0.0, DISTANCE)
    learn_only(network.eval(), optimizer)

    def one() -> float:
        start = time.perf_counter()
        step(network, lesson, optimizer, loss)
        return time.perf_counter() - start

    return one


def step_ratios(rounds: int) -> list[Row]:
    """Medians over rounds of the time of a quantized step over that of the float step in the same round."""
    network = without_features(load_model(shared() / NETWORK.weights))
    calibration = CalibrationSet(shared() / CALIBRATION, count=16, patch=PATCH)
    images = next(calibration.batches(BATCH))
    with torch.no_grad():
        lesson = Lesson(images, network(in_layout(images)), [])
    plain, options = copy.deepcopy(network), Distill()
    floating = steps(plain, [Rate(list(plain.parameters()), 1e-6)], lesson)
    others = {}
    for granularity in GRANULARITIES:
        quantized = student(network, calibration, granularity)
        rates = own_size_rates(quantized, options.weight_rate(Policy()), options.bound_rate)
        others[granularity] = steps(quantized, rates, lesson)
    ratios: dict[str, list[float]] = {granularity: [] for granularity in GRANULARITIES}
    for one in (floating, *others.values()):
        one()
    for _ in range(rounds):
        reference = floating()
        for granularity, one in others.items():
            ratios[granularity].append(one() / reference)
    return [
        measured(
            f"step, one grid per {name}, over a step of the float network", statistics.median(values), "", LONGEST_STEP
        )
        for name, values in ratios.items()
    ]


def command_seconds(effort: str, granularity: Granularity) -> float:
    """Seconds of ``srquant quantize --method distill`` at 4 bits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "srquant", "quantize", str(shared() / NETWORK.weights)]
        command += ["--calibration", str(shared() / CALIBRATION), "--method", "distill", "--effort", effort]
        command += ["--granularity", granularity, "--activation-granularity", granularity]
        command += ["-o", str(Path(folder, "quantized.safetensors"))]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        return time.perf_counter() - start


def commands() -> list[Row]:
    """Seconds of the command at each effort that has a bar, with each kind of grids."""
    return [
        measured(
            f"quantize --effort {effort}, grids per {granularity}", command_seconds(effort, granularity), "s", longest
        )
        for effort, longest in LONGEST.items()
        for granularity in GRANULARITIES
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    keep_freed_memory()
    about = (
        "EDSR with 8 blocks x2, W4A4, all cores. Steps: forward, loss, backward, Adam with 4 crops of 48x48, "
        f"medians of {arguments.rounds} rounds in which the networks take turns. Commands: wall time of one run."
    )
    columns = {"what": "what", "value": "measured", "unit": "unit", "bar": "at most", "reached": "reached"}
    rows = [*step_ratios(arguments.rounds), *commands()]
    report.write(arguments.output, "Time of distill", about, rows, columns)


if __name__ == "__main__":
    main()
