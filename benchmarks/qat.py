"""Quantization-aware training with equal steps: each method x bits on EDSR r8f64 x2, before and after, at all depths.

    python benchmarks/qat.py -o RUNS --steps 400                         all runs, one after the other
    python benchmarks/qat.py -o RUNS --steps 400 --method quantsr --bits 2
    python benchmarks/qat.py -o RUNS --steps 400 --assemble docs/results/qat

Each run is the command ``srquant train`` with one thread. Finished runs are not repeated; interrupted ones continue
from their checkpoint. Then ``srquant evaluate`` measures the file. Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptq_run import fastest, scores, shared, through_file, write
from qat_tables import assemble

from srquant.data.benchmark import BenchmarkSet
from srquant.data.pairs import PairSet
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.trained_registry import TRAINED
from srquant.models.load import load_model

WEIGHTS, PICTURES, SCALE = "weights/edsr/edsr_r8f64_x2.pt", "data/BSDS500_train/HR", 2
SETS = ("Set5", "Set14", "B100")
FIRST_CROPS = 64


@dataclass(frozen=True)
class Row:
    """A row of the table: its name, the method, and the options that differ from the method's defaults."""

    label: str
    method: str
    settings: tuple[str, ...] = ()
    depths: tuple[int, ...] = (8,)
    bits: tuple[int, ...] = (2, 3, 4)


LIMITED = ("most_change=0.01",)
"""As ``quantsr`` by itself: this network's first weights, 0.0004 on average, don't survive published rates."""

RELATIVE = (*LIMITED, "rates=relative")
"""Bounds learn relative to their size, as this network works in [0, 255]."""

ROWS = (
    Row("dorefa", "dorefa", LIMITED),
    Row("pams", "pams", RELATIVE),
    Row("daq", "daq", LIMITED),
    Row("ddtb", "ddtb", RELATIVE),
    Row("odm", "odm", RELATIVE),
    Row("quantsr", "quantsr", depths=(8, 4)),
    Row("quantsr, one depth", "quantsr", ("depths=8",), bits=(2,)),
    Row("quantsr without redistribution, one depth", "quantsr", ("depths=8", "redistribution=false"), bits=(2,)),
    Row("quantsr, fast", "quantsr", ("learning_rate=1e-3",), depths=(8, 4), bits=(2,)),
)


@dataclass(frozen=True)
class Scale:
    """How much every run trains: steps, crops per step, side of the low-resolution crops."""

    steps: int
    batch: int
    patch: int


def run(row: Row, bits: int, scale: Scale, folder: Path) -> None:
    """Train, then measure the start and the result; does nothing if the result exists."""
    result = result_path(folder, row.label, bits)
    home = result.parent
    if result.exists():
        return
    before, seconds = measure_start(row, bits, scale), train(row, bits, scale, home)
    after = [measured(home / "model.safetensors", depth, row.depths) for depth in row.depths]
    made = {"label": row.label, "method": row.method, "bits": bits, "settings": row.settings, **vars(scale)}
    write({**made, "seconds": seconds, "before": before, "after": after}, result)
    print(f"{row.label} {bits} bit: {before[0]['psnr_y']:.2f} -> {after[0]['scores'][0]['psnr_y']:.2f}", flush=True)


def result_path(folder: Path, label: str, bits: int) -> Path:
    """The file of a run, which exists once it is finished."""
    return folder / f"{label.replace(' ', '-').replace(',', '')}_{bits}bit" / "result.json"


def measure_start(row: Row, bits: int, scale: Scale) -> list[dict[str, Any]]:
    """Scores of the quantized network that training starts from."""
    pairs = PairSet((shared() / PICTURES,), SCALE, scale.patch, 0)
    crops = [pairs.batch(range(FIRST_CROPS))[0].float() / 255]
    method, policy = TRAINED[row.method], Policy(LayerBits(bits, bits), None, None)
    config = configure(method.config, row.settings)
    student = method.prepare(load_model(shared() / WEIGHTS), crops, policy, config, scale.steps)
    frozen, _ = through_file(student.result())
    engine, _ = fastest(frozen.network)
    return [scores(engine, BenchmarkSet(shared() / "data" / name, SCALE), None) for name in SETS]


def train(row: Row, bits: int, scale: Scale, home: Path) -> float:
    """Run ``srquant train``; returns its processor time in seconds."""
    command = [*srquant("train"), "--method", row.method, "--init", str(shared() / WEIGHTS)]
    command += ["-w", str(bits), "-a", str(bits), "--hr", str(shared() / PICTURES), "-o", str(home)]
    command += ["--steps", str(scale.steps), "--batch", str(scale.batch), "--patch", str(scale.patch)]
    command += ["--log-every", "10", "--checkpoint-every", "100"]
    command += [part for setting in row.settings for part in ("--set", setting)]
    before = os.times()
    subprocess.run(command, env=one_thread(), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def measured(path: Path, depth: int, depths: tuple[int, ...]) -> dict[str, Any]:
    """The results of ``srquant evaluate`` and ``srquant info``, in OpenVINO if that can run the network."""
    chosen = ["--depth", str(depth)] if len(depths) > 1 else []
    data = [part for name in SETS for part in ("--data", str(shared() / "data" / name))]
    for engine in ("openvino", "torch"):
        command = [*srquant("evaluate"), str(path), *data, *chosen, "--engine", engine, "--threads", "1"]
        done = subprocess.run([*command, "--json", "-"], env=one_thread(), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            reports = json.loads(done.stdout)
            return {
                "depth": depth,
                "size_bytes": path.stat().st_size,
                "scores": [{key: report[key] for key in ("dataset", "psnr_y", "ssim_a")} for report in reports],
                "bits": reports[0]["bits"],
            }
    raise RuntimeError(done.stderr)


def srquant(verb: str) -> list[str]:
    """The command line of this environment."""
    return [sys.executable, "-c", "from srquant.cli import main; main()", verb]


def one_thread() -> dict[str, str]:
    """Environment variables of a run, which limit it to one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def chosen(methods: list[str], bits: list[int]) -> Iterator[tuple[Row, int]]:
    """Rows and bits that the command line selects, in ascending order of bits."""
    everything = [(row, number) for row in ROWS for number in row.bits]
    left = [(row, n) for row, n in everything if (not methods or row.method in methods) and (not bits or n in bits)]
    yield from sorted(left, key=lambda pair: pair[1])


def main() -> None:
    """Make the runs; with ``--assemble`` only write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS", help="folder of the runs")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=24, help="side of the low-resolution crops")
    parser.add_argument("--method", action="append", default=[])
    parser.add_argument("--bits", type=int, action="append", default=[])
    parser.add_argument("--assemble", type=Path, metavar="PATH", help="only write PATH.json, PATH.md and PATH.png")
    arguments = parser.parse_args()
    if arguments.assemble:
        assemble(arguments.output, arguments.assemble)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    for row, bits in chosen(arguments.method, arguments.bits):
        run(row, bits, Scale(arguments.steps, arguments.batch, arguments.patch), arguments.output)


if __name__ == "__main__":
    main()
