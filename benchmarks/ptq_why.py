"""Why some bars aren't reached: which distance finetuning makes small, and which learning rates GBA's bounds need.

    python benchmarks/ptq_why.py -o RUNS                          all parts; continues an interrupted run
    python benchmarks/ptq_why.py -o RUNS --assemble docs/results/ptq_why

EDSR r8f64 x2 at 4 bits, first calibration seed. Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import datetime
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ptq_rows import LEARNED, runs
from ptq_run import Run, checkpoint, fastest, quantize, shared, write
from report import machine
from torch import Tensor

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.measure.quality.scores import evaluate
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.upscale.tiles.upscale_tiles import upscale_tile

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
    Point("mse+FT, squares", "mse", ("finetune=squares",)),
    Point("minmax+FT", "minmax", ("finetune=together",)),
    Point("gba without finetuning", "gba", ("finetune=false",)),
    *(_rated("gba", f"learning_rate={rate}") for rate in ("0.0003", "0.001", "0.003", "0.01")),
    _rated("gba", *LEARNED),
)


def measure(point: Point) -> dict[str, Any]:
    """Distances from the float network on calibration crops and on others, and PSNR on the benchmark sets."""
    like = next(run for run in runs() if run.network == EDSR and run.bits == BITS and run.seed == 0)
    run = Run(**{**vars(like), "label": point.label, "method": point.method, "settings": point.settings})
    network = load_model(checkpoint(run.weights))
    frozen = freeze(quantize(run, network, None)).network
    crops = CalibrationSet(shared() / run.calibration, run.count, run.seed, run.patch)
    upscaler = partial(upscale_tile, fastest(frozen)[0])
    sets = {name: BenchmarkSet(shared() / "data" / name, network.facts.scale) for name in SETS}
    return {
        **asdict(point),
        "seen": distances(network, frozen, crops, 0),
        "unseen": distances(network, frozen, crops, OTHER_EPOCH),
        "psnr_y": {name: evaluate(upscaler, pictures, "").psnr_y for name, pictures in sets.items()},
    }


@torch.no_grad()
def distances(teacher: Network, student: Network, crops: CalibrationSet, epoch: int) -> dict[str, float]:
    """Mean absolute, root mean square and largest difference of pictures in grey levels."""
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
    lines = [
        "# What finetuning makes small\n",
        "`python benchmarks/ptq_why.py -o RUNS`\n",
        f"{made['machine']}, {made['date']}\n",
        "EDSR r8f64 x2 at 4 bits, first calibration seed. Distance from the float network's picture in grey levels, on",
        "the calibration crops and on other crops of the same pictures; PSNR-Y in dB. What follows from it is in",
        "[ptq_reading.md](ptq_reading.md).\n",
        *distance_table(found),
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


def main() -> None:
    """Measure what is missing, or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS", help="folder of the results")
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
