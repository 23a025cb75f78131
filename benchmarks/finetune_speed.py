"""Seconds per finetuning step and peak memory: ours against ``plain_finetune.py``, batch 2, crops of 96 x 96.

    python benchmarks/finetune_speed.py -o docs/results/finetune_speed

Each combination of network, recipe and implementation runs in its own process with one thread; they take turns. In one
turn each takes the same number of steps on the same crops. The table has medians over the turns. Our time includes a
share of running the teacher, which happens once for all passes over a crop, and reading its outputs from disk. A third
implementation takes the same steps with the float network: the cost of a step without quantizers, with the gradients of
all weights.
"""

import argparse
import copy
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import plain_finetune
import report
import torch

from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import recorded
from srquant.distillation.loop import Guards, Quantizer, adam, bound_rates, train_pass
from srquant.distillation.recipes import distillation
from srquant.grids.range_rules import minmax, symmetric_mse
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.speed.worker import peak_memory
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import activation_quantizers, quant_layers

NETWORKS = {"EDSR 8x64 x2": (8, 64, 2), "EDSR 16x64 x4": (16, 64, 4)}
RECIPES = ("published", "gba stage 3")
IMPLEMENTATIONS = ("ours", "plain", "float")
BATCH, PATCH = 2, 96
FEATURE_WEIGHT, LEARNING_RATE = 10.0, 0.01
PUBLISHED_PASSES = 10
"""Passes of the published recipe over what the teacher said."""

GBA_PASSES = 2
"""Over each crop: one for bits, one for bounds."""

BARS = {"speed": 2.0, "memory_mb": 2000.0}

Bounds = list[list[torch.nn.Parameter]]
"""What learns in each pass of a turn."""


@dataclass(frozen=True)
class Row:
    """Processor seconds per step on one thread, ratios of these times, and peak memory in megabytes."""

    network: str
    recipe: str
    ours_s: float
    plain_s: float
    float_s: float
    ratio: float
    float_ratio: float
    ours_mb: float
    plain_mb: float
    reached: bool


def students(name: str, recipe: str, calibration: CalibrationSet) -> tuple[Network, Network]:
    """A float network with random weights, and its quantized copy."""
    torch.manual_seed(0)
    teacher = Network(EDSR(*NETWORKS[name]), facts(*NETWORKS[name])).eval()
    policy = Policy(LayerBits(4, 4), symmetric_weights=recipe == "published")
    plan = resolve(teacher, policy)
    bounds = activation_bounds(teacher, plan, calibration.batches(BATCH), Collection(minmax, 0.9))
    student = insert_quantizers(teacher, plan, bounds, symmetric_mse)
    if recipe != "published":
        for layer in quant_layers(student).values():
            layer.input_quantizer = DANQuantizer(layer.input_quantizer.bits, 1)
    return teacher, student


def ours(name: str, recipe: str, calibration: CalibrationSet) -> Callable[[], tuple[float, int]]:
    """A function that takes one turn and gives its processor seconds and number of steps."""
    teacher, student = students(name, recipe, calibration)
    weights: list[Quantizer] = [layer.weight_quantizer for layer in quant_layers(student).values()]
    activations: list[Quantizer] = list(activation_quantizers(student).values())
    groups = [weights, activations] if recipe == "published" else [[*activations, *weights]]
    optimizers = [adam(bound_rates(group, LEARNING_RATE, False)) for group in groups]
    return turns(recipe, teacher, student, optimizers, calibration)


def unquantized(name: str, recipe: str, calibration: CalibrationSet) -> Callable[[], tuple[float, int]]:
    """The same steps with the float network; gradients of its weights are computed, the weights don't change."""
    teacher, _ = students(name, recipe, calibration)
    student = copy.deepcopy(teacher)
    resting = torch.optim.SGD(student.parameters(), lr=0.0)
    return turns(recipe, teacher, student, [resting] * (2 if recipe == "published" else 1), calibration)


def turns(
    recipe: str,
    teacher: Network,
    student: Network,
    optimizers: Sequence[torch.optim.Optimizer],
    calibration: CalibrationSet,
) -> Callable[[], tuple[float, int]]:
    """A function that takes one turn with our training loop."""
    share = len(optimizers) / (PUBLISHED_PASSES if recipe == "published" else GBA_PASSES)
    guards, loss = Guards(student), distillation(FEATURE_WEIGHT)

    def turn() -> tuple[float, int]:
        start = time.process_time()
        with recorded(teacher, calibration.batches(BATCH)) as lessons:
            middle = time.process_time()
            for optimizer in optimizers:
                train_pass(student, lessons, optimizer, loss, guards)
            seconds = share * (middle - start) + time.process_time() - middle
            return seconds, len(lessons) * len(optimizers)

    return turn


def plain(name: str, recipe: str, calibration: CalibrationSet) -> Callable[[], tuple[float, int]]:
    """The same with the plain implementation."""
    teacher, quantized = students(name, recipe, calibration)
    student = plain_finetune.plain(quantized)
    weights, activations = plain_finetune.weight_bounds(student), plain_finetune.activation_bounds(student)
    groups: Bounds = [weights, activations] if recipe == "published" else [[*activations, *weights]]
    optimizers = [torch.optim.Adam(group, LEARNING_RATE) for group in groups]

    def turn() -> tuple[float, int]:
        start, steps = time.process_time(), 0
        for group, optimizer in zip(groups, optimizers, strict=True):
            student.requires_grad_(False)
            for bound in group:
                bound.requires_grad_(True)
            for images in calibration.batches(BATCH):
                plain_finetune.step(student, teacher, images, optimizer, FEATURE_WEIGHT)
                steps += 1
        return time.process_time() - start, steps

    return turn


def serve(name: str, recipe: str, implementation: str, crops: int) -> None:
    """Warm up, say ``ready``, then answer ``run`` with seconds per step and ``memory`` with bytes."""
    torch.set_num_threads(1)
    folder = Path(os.environ.get("SRQUANT_SHARED", "../shared")) / "data" / "DIV2K_test_LR" / "LR_bicubic" / "X4"
    calibration = CalibrationSet(folder, crops, patch=PATCH)
    turn = {"ours": ours, "plain": plain, "float": unquantized}[implementation](name, recipe, calibration)
    turn()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(peak_memory("cpu"), flush=True)
        else:
            seconds, steps = turn()
            print(seconds / steps, flush=True)


@contextmanager
def worker(name: str, recipe: str, implementation: str, crops: int) -> Iterator[Callable[[str], float]]:
    """Start a process that runs ``serve``; yields a function that sends it a command and gives the answer."""
    command = [sys.executable, __file__, "--serve", name, recipe, implementation, "--crops", str(crops)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        questions, answers = process.stdin, process.stdout
        assert questions is not None
        assert answers is not None
        answers.readline()

        def ask(question: str) -> float:
            questions.write(question + "\n")
            questions.flush()
            return float(answers.readline())

        try:
            yield ask
        finally:
            process.kill()


def measure(name: str, recipe: str, rounds: int, crops: int) -> Row:
    """All implementations in turns."""
    with ExitStack() as stack:
        asks = [stack.enter_context(worker(name, recipe, implementation, crops)) for implementation in IMPLEMENTATIONS]
        samples = [[ask("run") for ask in asks] for _ in range(rounds)]
        our_mb, plain_mb, _ = (ask("memory") / 1e6 for ask in asks)
    our_s, plain_s, float_s = (statistics.median(values) for values in zip(*samples, strict=True))
    ratio = statistics.median(slow / fast for fast, slow, _ in samples)
    float_ratio = statistics.median(slow / least for _, slow, least in samples)
    reached = ratio >= BARS["speed"] and our_mb < BARS["memory_mb"]
    return Row(name, recipe, our_s, plain_s, float_s, ratio, float_ratio, our_mb, plain_mb, reached)


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--crops", type=int, default=4, help="crops per pass of a turn")
    parser.add_argument("--serve", nargs=3, metavar=("NETWORK", "RECIPE", "IMPLEMENTATION"), help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve, arguments.crops)
        return
    if arguments.output is None:
        parser.error("give -o, where the table goes")
    rows = []
    for name, recipe in product(NETWORKS, RECIPES):
        rows.append(measure(name, recipe, arguments.rounds, arguments.crops))
        print(rows[-1], flush=True)
    about = (
        f"Processor seconds per step of one thread, batch {BATCH}, crops of {PATCH}x{PATCH}, W4A4, medians of "
        f"{arguments.rounds} turns; ratio: median of the turns' ratios. Plain runs the teacher in every step and "
        f"quantizes with one tensor operation after the other; float trains the network without quantizers. Bars: at "
        f"least {BARS['speed']:g} times faster, under {BARS['memory_mb']:g} MB."
    )
    columns = {
        "network": "network",
        "recipe": "recipe",
        "ours_s": "ours s",
        "plain_s": "plain s",
        "float_s": "float s",
        "ratio": "plain / ours",
        "float_ratio": "plain / float",
        "ours_mb": "ours MB",
        "plain_mb": "plain MB",
        "reached": "reached",
    }
    report.write(arguments.output, "Speed of finetuning", about, rows, columns)
    sys.exit(not all(row.reached for row in rows))


if __name__ == "__main__":
    main()
