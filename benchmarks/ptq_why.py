"""Why some numbers to reach aren't reached: what finetuning makes small, how fast bounds may learn, where bits go.

    python benchmarks/ptq_why.py -o RUNS                          all parts, resumable
    python benchmarks/ptq_why.py -o RUNS --assemble docs/results/ptq_why

EDSR r8f64 x2 at 4 bits, first calibration seed. Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import datetime
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from ptq_rows import FASTER, LEARNED, THRIFTY, runs
from ptq_run import Run, checkpoint, fastest, quantize, shared, write
from report import machine
from torch import Tensor

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.accounting import picture_fab
from srquant.deploy.freeze import freeze
from srquant.evaluate.evaluate import evaluate
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.upscale.tiles import upscale_tile

EDSR, BITS, SETS = "edsr_r8f64_x2", 4, ("Set5", "Set14")
WHITE = 255.0
OTHER_EPOCH = 1000
"""Of crops that no finetuning has seen."""


@dataclass(frozen=True)
class Point:
    """One network: a row of the benchmark, or one with other settings."""

    label: str
    method: str
    settings: tuple[str, ...] = ()


def _rated(method: str, *settings: str) -> Point:
    return Point(f"{method} {' '.join(settings)}", method, settings)


POINTS = (
    Point("mse", "mse"),
    Point("mse+FT", "mse", ("finetune=together",)),
    Point("minmax", "minmax"),
    Point("minmax+FT", "minmax", ("finetune=together",)),
    Point("adabm relative", "adabm", THRIFTY),
    Point("adabm without I2B", "adabm", ("image_to_bit=false", *THRIFTY)),
    *(_rated("gba", "dan_stages=none", f"learning_rate={rate}") for rate in ("0.0003", "0.001", "0.003", "0.01")),
    _rated("gba", "dan_stages=none", *LEARNED),
    *(_rated("outlier-aware", f"learning_rate={rate}") for rate in ("0.001", "0.01", "0.1")),
    _rated("outlier-aware", *FASTER),
)


def measure(point: Point) -> dict[str, Any]:
    """Distances from the float network on crops, seen and unseen, and scores of every picture."""
    like = next(run for run in runs() if run.network == EDSR and run.bits == BITS and run.seed == 0)
    run = Run(**{**vars(like), "label": point.label, "method": point.method, "settings": point.settings})
    network = load_model(checkpoint(run.weights))
    frozen = freeze(quantize(run, network)).network
    crops = CalibrationSet(shared() / run.calibration, run.count, run.seed, run.patch)
    upscaler, bits = partial(upscale_tile, fastest(frozen)[0]), picture_fab(frozen)
    pictures = []
    for name in SETS:
        benchmark = BenchmarkSet(shared() / "data" / name, network.facts.scale)
        for image, sample in zip(evaluate(upscaler, benchmark, "").images, benchmark, strict=True):
            fab = bits(sample.low) if callable(bits) else bits
            pictures.append({"set": name, "name": image.name, "psnr_y": image.psnr_y, "fab": fab})
    return {
        **asdict(point),
        "seen": distances(network, frozen, crops, 0),
        "unseen": distances(network, frozen, crops, OTHER_EPOCH),
        "psnr_y": {name: fmean(p["psnr_y"] for p in pictures if p["set"] == name) for name in SETS},
        "pictures": pictures,
    }


@torch.no_grad()
def distances(teacher: Network, student: Network, crops: CalibrationSet, epoch: int) -> dict[str, float]:
    """Mean absolute and root mean square difference of pictures in grey levels, and the largest of them."""
    differences: list[Tensor] = [WHITE * (student(images) - teacher(images)) for images in crops.batches(10, epoch)]
    flat = torch.cat([difference.flatten() for difference in differences]).double()
    return {
        "l1": float(flat.abs().mean()),
        "rms": float(flat.square().mean().sqrt()),
        "largest": float(flat.abs().max()),
    }


def report(found: list[dict[str, Any]], output: Path) -> None:
    """Write the tables."""
    made = {"machine": machine(), "date": datetime.date.today().isoformat()}
    output.with_suffix(".json").write_text(json.dumps({**made, "points": found}, indent=1) + "\n")
    lines = ["# What finetuning makes small\n", "`python benchmarks/ptq_why.py -o RUNS`\n"]
    lines += [
        f"{made['machine']}, {made['date']}\n",
        "Measured; what follows from it is in [ptq_reading.md](ptq_reading.md).\n",
    ]
    lines += [
        "Distance from the float network's picture in grey levels, on the calibration crops and on other crops of the"
    ]
    lines += [
        "same pictures; PSNR-Y in dB.\n",
        *distance_table(found),
        "",
        "## Bits by picture\n",
        *picture_table(found),
    ]
    output.with_suffix(".md").write_text("\n".join(lines) + "\n")


def distance_table(found: list[dict[str, Any]]) -> list[str]:
    """One row per network."""
    lines = ["| | L1 | rms | unseen L1 | unseen rms | Set5 | Set14 |", "| --- |" + " --: |" * 6]
    for point in found:
        crops = [f"{point[kind][name]:.3f}" for kind in ("seen", "unseen") for name in ("l1", "rms")]
        cells = [*crops, *(f"{point['psnr_y'][name]:.2f}" for name in SETS)]
        lines.append("| " + " | ".join([point["label"], *cells]) + " |")
    return lines


def picture_table(found: list[dict[str, Any]]) -> list[str]:
    """AdaBM with and without bits by picture."""
    by_label = {point["label"]: point for point in found}
    pair = [by_label[label] for label in ("adabm without I2B", "adabm relative") if label in by_label]
    if len(pair) < 2:
        return []
    lines = ["| picture | bits without | PSNR-Y | bits with | PSNR-Y | difference |", "| --- |" + " --: |" * 5]
    for without, with_bits in zip(pair[0]["pictures"], pair[1]["pictures"], strict=True):
        cells = [f"{p[key]:.2f}" for p in (without, with_bits) for key in ("fab", "psnr_y")]
        change = f"{with_bits['psnr_y'] - without['psnr_y']:+.2f}"
        lines.append("| " + " | ".join([f"{without['set']} {without['name']}", *cells, change]) + " |")
    return lines


def main() -> None:
    """Measure what is missing, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS", help="folder of what is measured")
    parser.add_argument("--assemble", type=Path, metavar="PATH", help="only write PATH.json and PATH.md")
    arguments = parser.parse_args()
    paths = {point: arguments.output / f"{i}.json" for i, point in enumerate(POINTS)}
    if arguments.assemble:
        report([json.loads(path.read_text()) for path in paths.values() if path.exists()], arguments.assemble)
        return
    torch.set_num_threads(1)
    for point, path in paths.items():
        if not path.exists():
            write(measure(point), path)
            print(point.label, flush=True)


if __name__ == "__main__":
    main()
