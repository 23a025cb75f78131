"""Latency of EDSR 16x64 x4 (random weights) on a 320x180 picture: our integer network and other engines.

    python benchmarks/engines.py -o docs/results/engines

Each engine runs in its own process; they take turns, one inference per round, and the table has the medians of all
rounds. It has a row for NNCF's int8 if NNCF is installed (``pip install srquant[bench]``).
"""

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report
import torch
from numpy.typing import NDArray

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.onnx.model import save_onnx, to_onnx
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.speed.exported_models import (
    export_all,
    export_integer,
    noise,
    quantize_to_8_bit,
    write_noise,
)
from srquant.measure.speed.time_models import ExportedModel, Measured, time_models
from srquant.methods.registry import METHODS
from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Network

HEIGHT, WIDTH = 180, 320
BARS = {  # engine -> smallest speed-up to reach over OpenVINO float32, PyTorch float32, ONNX Runtime static int8
    "openvino": (3.2, 4.3, 2.0),
    "openvino-skip8": (3.9, 5.3, 2.5),
}


@dataclass(frozen=True)
class Row:
    """One engine: milliseconds, megabytes, and how many times faster it is than peers of the same run.

    OpenVINO's default is bfloat16 on processors that have it; None where this one doesn't.
    """

    engine: str
    precision: str
    median_ms: float
    min_ms: float
    max_ms: float
    peak_rss_mb: float
    vs_openvino_float: float
    vs_openvino_default: float | None
    vs_torch_float: float
    vs_onnxruntime_int8: float
    bars: str


def low_bit(network: Network, folder: Path) -> Iterator[ExportedModel]:
    """W4A4 with float and with 8-bit skip connections; weights are random, so random pictures give the ranges."""
    calibration = CalibrationSet(write_noise(folder / "low_bit"), count=4, patch=64)
    for name, policy in {
        "openvino-w4a4": Policy(LayerBits(4, 4)),
        "openvino-w4a4-skip8": Policy(LayerBits(4, 4), skip_bits=8),
    }.items():
        frozen = freeze(METHODS["minmax"].quantize(network, calibration, policy, METHODS["minmax"].config())).network
        yield export_integer(name, frozen, folder)


def onnx_int8(network: Network, folder: Path) -> ExportedModel:
    """Our 8-bit network with float skip connections, in ONNX Runtime."""
    path = folder / "int8.onnx"
    save_onnx(to_onnx(quantize_to_8_bit(network, write_noise(folder / "onnx"), None)), path)
    return ExportedModel("onnxruntime", "int8", "onnxruntime", path)


def nncf_int8(float_model: Path, folder: Path) -> ExportedModel:
    """int8 by NNCF, calibrated on the same random pictures."""
    import nncf
    import openvino

    def to_input(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return image.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)

    model = openvino.Core().read_model(float_model)
    quantized = nncf.quantize(model, nncf.Dataset(list(noise()), to_input), subset_size=4)
    path = folder / "nncf.xml"
    openvino.save_model(quantized, path, compress_to_fp16=False)
    return ExportedModel("openvino-nncf", "int8", "openvino", path)


def to_rows(measured: list[Measured]) -> list[Row]:
    """Rows with times, and speed relative to the other engines."""
    times = {(m.model.engine, m.model.precision): m.timing.median_ms for m in measured}
    peers = [times[peer] for peer in (("openvino", "float32"), ("torch", "float32"), ("onnxruntime-static", "int8"))]
    default_ms = times.get(("openvino", "bfloat16"))
    rows = []
    for m in measured:
        c, t = m.model, m.timing
        ratios = [peer / t.median_ms for peer in peers]
        default = None if default_ms is None else default_ms / t.median_ms
        bars = BARS.get(c.engine) if c.precision == "int8" else None
        text = (
            ""
            if bars is None
            else f"{' / '.join(map(str, bars))}: {all(r >= b for r, b in zip(ratios, bars, strict=True))}"
        )
        spent = t.median_ms, t.min_ms, t.max_ms, m.peak_memory / 1e6
        rows.append(Row(c.engine, c.precision, *spent, ratios[0], default, *ratios[1:], text))
    return rows


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    network = Network(EDSR(16, 64, 4), facts(16, 64, 4)).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        entries = export_all(network, folder)
        entries.append(onnx_int8(network, folder))
        entries += low_bit(network, folder)
        if importlib.util.find_spec("nncf"):
            float_model = next(c.path for c in entries if (c.engine, c.precision) == ("openvino", "float32"))
            entries.append(nncf_int8(float_model, folder))
        measured = time_models(entries, HEIGHT, WIDTH, arguments.threads, arguments.rounds)
    rows = to_rows(measured)
    for row in rows:
        print(row)
    about = (
        f"EDSR 16x64 x4 on {WIDTH}x{HEIGHT}, {arguments.threads} threads, {arguments.rounds} rounds in turns, "
        "medians in ms. 'openvino int8' and 'onnxruntime int8' are our W8A8 form with a float skip stream; ratios are "
        "peer / row."
    )
    columns = {
        "engine": "engine",
        "precision": "precision",
        "median_ms": "median ms",
        "min_ms": "min",
        "max_ms": "max",
        "peak_rss_mb": "peak MB",
        "vs_openvino_float": "vs OpenVINO f32",
        "vs_openvino_default": "vs OpenVINO's default (bf16)",
        "vs_torch_float": "vs PyTorch f32",
        "vs_onnxruntime_int8": "vs ORT int8",
        "bars": "bars: reached",
    }
    report.write(arguments.output, "Latency of engines", about, rows, columns)
    sys.exit(any(row.bars.endswith("False") for row in rows))


if __name__ == "__main__":
    main()
