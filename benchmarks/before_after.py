"""Speed of integer networks as two checkouts export them: has a change of the exporter made them slower?

    git worktree add ../earlier 57fef43^
    python benchmarks/before_after.py --before ../earlier -o docs/results/before_after

Each checkout quantizes the networks to 8 bits and exports them for OpenVINO; all files are then timed in turns, by the
present checkout. Weights: ``$SRQUANT_SHARED``.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import report

from srquant.measure.speed.time_models import ExportedModel, time_models

ROOT = Path(__file__).parents[1]

EXPORT = """
import sys
from pathlib import Path
from srquant.deploy.file.open_model import open_model
from srquant.measure.speed.exported_models import export_integer, quantize_to_8_bit, write_noise

network, folder = open_model(Path(sys.argv[1])), Path(sys.argv[2])
pictures = write_noise(folder / "noise")
for name, skip_bits in {"float": None, "8 bits": 8}.items():
    if name in sys.argv[3:]:
        export_integer(name, quantize_to_8_bit(network, pictures, skip_bits), folder)
"""
"""What both checkouts can run: the checkpoint, the folder, and the kinds of skip connections."""

PROCESSES = 3
"""That time a file."""

BOTH = ("float", "8 bits")
"""Kinds of skip connections."""


@dataclass(frozen=True)
class Network:
    """A network: its weights, the size of the picture, and the kinds of skip connections that it can have."""

    name: str
    weights: str
    height: int
    width: int
    skips: tuple[str, ...] = BOTH


NETWORKS = (
    Network("EDSR, 16 blocks, x4", "edsr/edsr_r16f64_x4_own.pt", 90, 160),
    Network("Compact, Real-ESRGAN general v3, x4", "srvgg_compact/realesr-general-x4v3_fp16.pth", 180, 320, ("float",)),
    Network("RRDB, Real-ESRGAN anime 6B, x4", "rrdb/RealESRGAN_x4plus_anime_6B_fp16.pth", 64, 64),
)


@dataclass(frozen=True)
class Row:
    """A network with one kind of skip connections: medians in milliseconds, and their ratio."""

    network: str
    skip: str
    before: float
    after: float
    ratio: float


def export(checkout: Path, network: Network, folder: Path) -> list[Path]:
    """Export a network by a checkout."""
    folder.mkdir(parents=True)
    weights = Path(os.environ["SRQUANT_SHARED"], "weights", network.weights)
    environment = os.environ | {"PYTHONPATH": str(checkout / "src")}
    arguments = [sys.executable, "-c", EXPORT, weights, folder, *network.skips]
    subprocess.run(list(map(str, arguments)), check=True, env=environment, cwd=folder)
    return [folder / f"{skip}.xml" for skip in network.skips]


def measure(network: Network, before: Path, folder: Path, threads: int, rounds: int) -> list[Row]:
    """Export by both checkouts, and time all files in turns."""
    paths = [*export(before, network, folder / "before"), *export(ROOT, network, folder / "after")]
    models = PROCESSES * [ExportedModel(path.parent.name, "int8", "openvino", path) for path in paths]
    medians = [m.timing.median_ms for m in time_models(models, network.height, network.width, threads, rounds)]
    times = [median(medians[number :: len(paths)]) for number in range(len(paths))]
    pairs = zip(network.skips, times, times[len(network.skips) :], strict=False)
    return [Row(network.name, skip, earlier, now, now / earlier) for skip, earlier, now in pairs]


ABOUT = """\
Milliseconds in OpenVINO at 8 bits, by kind of skip connections: every file in {processes} processes, {rounds} rounds in
turns, {threads} threads; the median of the processes' medians. One process alone can be a third slower for as long as
it runs, with the same file."""

COLUMNS = {
    "network": "network",
    "skip": "skip connections",
    "before": "before, ms",
    "after": "after, ms",
    "ratio": "after / before",
}


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, metavar="CHECKOUT")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    if not (given.before / "src" / "srquant").is_dir():
        parser.error(f"--before {given.before}: no checkout of srquant is there")
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for number, network in enumerate(NETWORKS)
            for row in measure(network, given.before.resolve(), Path(folder, str(number)), given.threads, given.rounds)
        ]
    about = ABOUT.format(processes=PROCESSES, rounds=given.rounds, threads=given.threads)
    report.write(given.output, "Speed before and after a change of the exporter", about, rows, COLUMNS)


if __name__ == "__main__":
    main()
