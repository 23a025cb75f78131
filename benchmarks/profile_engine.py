"""Time of each kind of operation in our integer network, by OpenVINO's counters: EDSR 16x64 x4 on 320x180, 8-bit skips.

python benchmarks/profile_engine.py -o docs/results/profile
"""

import argparse
import collections
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
import report
import torch

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.openvino.float_precision import cpu_options
from srquant.deploy.openvino.model import to_openvino
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.speed.exported_models import write_noise
from srquant.methods.registry import METHODS
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network

HEIGHT, WIDTH = 180, 320
BODY_MACS = 9 * 64 * 64 * HEIGHT * WIDTH
MACS = 33 * BODY_MACS + 4 * BODY_MACS + 16 * BODY_MACS + (9 * 3 * 64 + 16 * 9 * 64 * 3) * HEIGHT * WIDTH


@dataclass(frozen=True)
class Row:
    """All nodes of one kind: how it ran, how many, milliseconds (median of the rounds' sums) and share."""

    kind: str
    implementation: str
    nodes: int
    milliseconds: float
    share: float


def compiled(skip_bits: int | None) -> openvino.CompiledModel:
    """The compiled W8A8 network with random weights and performance counters."""
    torch.manual_seed(0)
    network = Network(EDSR(16, 64, 4), facts(16, 64, 4)).eval()
    with tempfile.TemporaryDirectory() as folder:
        calibration = CalibrationSet(write_noise(Path(folder) / "noise"), count=4, patch=64)
        policy = Policy(LayerBits(8, 8), skip_bits=8 if skip_bits == 8 else None)
        model = to_openvino(
            freeze(METHODS["minmax"].quantize(network, calibration, policy, METHODS["minmax"].config())).network
        )
    model.reshape([1, 3, HEIGHT, WIDTH])
    return openvino.Core().compile_model(
        model, "CPU", {**cpu_options(), "PERF_COUNT": True, "INFERENCE_NUM_THREADS": 2}
    )


def profile(model: openvino.CompiledModel, rounds: int) -> tuple[list[Row], float]:
    """Rows, in descending order of time, and milliseconds of the median 64 -> 64 convolution."""
    request = model.create_infer_request()
    image = np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32)
    sums = collections.defaultdict(list)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    body: list[float] = []
    for _ in range(rounds):
        request.infer([image])
        spent: collections.Counter[tuple[str, str]] = collections.Counter()
        counts.clear()
        for node in request.profiling_info:
            ms = node.real_time.total_seconds() * 1000
            if ms > 0:
                spent[node.node_type, node.exec_type] += ms
                counts[node.node_type, node.exec_type] += 1
            if node.node_name.startswith("body."):
                body.append(ms)
        for key, ms in spent.items():
            sums[key].append(ms)
    medians = {key: statistics.median(values) for key, values in sums.items()}
    total = sum(medians.values())
    rows = [Row(*key, counts[key], ms, ms / total) for key, ms in medians.items()]
    return sorted(rows, key=lambda row: -row.milliseconds), statistics.median(body)


def main() -> None:
    """Profile and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--skip-bits", type=int, choices=[8, 32], default=8)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows, conv = profile(compiled(arguments.skip_bits), arguments.rounds)
    total = sum(row.milliseconds for row in rows)
    rate = BODY_MACS / conv / 1e6
    about = (
        f"W8A8, skip stream {arguments.skip_bits} bit, 2 threads: {total:.1f} ms in all, {MACS / 1e9:.1f} GMAC. "
        f"The median 64 -> 64 convolution takes {conv:.2f} ms = {rate:.0f} GMAC/s; all at that rate would take "
        f"{MACS / rate / 1e6:.1f} ms."
    )
    print(about, *rows, sep="\n")
    columns = {"kind": "kind", "implementation": "ran as", "nodes": "nodes", "milliseconds": "ms", "share": "share"}
    report.write(arguments.output, "Where the time goes", about, rows, columns)


if __name__ == "__main__":
    main()
