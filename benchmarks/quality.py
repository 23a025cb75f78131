"""Y-PSNR of ``edsr_r8f64_x2.pt`` with the settings that have a bar, on Set5 and Set14, in PyTorch and OpenVINO.

    python benchmarks/quality.py -o docs/results/quality

Pictures and weights: ``$SRQUANT_SHARED``. 100 calibration crops of 48x48 from ``DIV2K_test_LR/LR_bicubic/X4``.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import report

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.quality.scores import evaluate
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.tiles.upscale_tiles import upscale_tile

W8A8, W4A4, W3A3, W2A2 = (LayerBits(bits, bits) for bits in (8, 4, 3, 2))
TOGETHER, GPTQ = ("finetune=together",), ("rounding=gptq",)
FLOAT = (37.801, 33.373)


@dataclass(frozen=True)
class Setting:
    """A way to quantize, and the smallest Y-PSNR that it must reach on Set5 and Set14 (None: no bar)."""

    name: str
    method: str
    policy: Policy
    options: tuple[str, ...] = ()
    bar: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """One measured setting; PSNR in dB, ``size`` relative to the float checkpoint."""

    setting: str
    set5: float
    set14: float
    set5_openvino: float
    set14_openvino: float
    bar: str
    reached: bool | None
    int8_convs: int
    size: float
    seconds: float


SETTINGS = (
    Setting("minmax W8A8", "minmax", Policy(W8A8)),
    Setting(
        "tails W8A8, channel grids",
        "tails",
        Policy(W8A8, activation_granularity="channel"),
        bar=(FLOAT[0] - 0.05, FLOAT[1] - 0.05),
    ),
    Setting(
        "tails W8A8, channel grids, skip 8",
        "tails",
        Policy(W8A8, activation_granularity="channel", skip_bits=8),
        bar=(FLOAT[0] - 0.08, FLOAT[1] - 0.08),
    ),
    Setting("minmax W4A4", "minmax", Policy(W4A4)),
    Setting("minmax W4A4 + finetuning", "minmax", Policy(W4A4), TOGETHER, (37.0, 32.8)),
    Setting("percentile W4A4", "percentile", Policy(W4A4)),
    Setting("mse W4A4", "mse", Policy(W4A4), bar=(37.1, 32.8)),
    Setting("mse W4A4 + finetuning", "mse", Policy(W4A4), TOGETHER, (37.2, 32.85)),
    Setting("mse W4A4, skip 8", "mse", Policy(W4A4, skip_bits=8)),
    Setting(
        "mse W4A4, per-channel weights + finetuning",
        "mse",
        Policy(W4A4, granularity="channel"),
        ("finetune=weights",),
        (37.3, 32.95),
    ),
    Setting(
        "tails W4A4, channel grids", "tails", Policy(W4A4, granularity="channel", activation_granularity="channel")
    ),
    Setting("minmax W2A2", "minmax", Policy(W2A2)),
    Setting("mse W2A2 + finetuning", "mse", Policy(W2A2), TOGETHER),
    Setting("mse W3A3 + finetuning", "mse", Policy(W3A3), TOGETHER),
    Setting("mse W4A4, compensated", "mse", Policy(W4A4), GPTQ),
    Setting("mse W4A4, per-channel weights, compensated", "mse", Policy(W4A4, granularity="channel"), GPTQ),
    Setting(
        "tails W4A4, channel grids, compensated",
        "tails",
        Policy(W4A4, granularity="channel", activation_granularity="channel"),
        GPTQ,
    ),
    Setting("mse W3A3, compensated", "mse", Policy(W3A3), GPTQ),
    Setting("mse W3A3, per-channel weights, compensated", "mse", Policy(W3A3, granularity="channel"), GPTQ),
    Setting("mse W2A2, compensated", "mse", Policy(W2A2), GPTQ),
    Setting("mse W2A2, per-channel weights, compensated", "mse", Policy(W2A2, granularity="channel"), GPTQ),
    Setting("mse W6A6", "mse", Policy(LayerBits(6, 6))),
)


def measure(
    setting: Setting, network: Network, calibration: CalibrationSet, sets: list[BenchmarkSet], size: int
) -> Row:
    """Quantize, save, load, evaluate in both engines."""
    start = time.perf_counter()
    method = METHODS[setting.method]
    config = configure(method.config, setting.options)
    quantized = method.quantize(network, calibration, setting.policy, config)
    seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        save(freeze(quantized), path)
        frozen, relative = load(path).network, path.stat().st_size / size
    scores = [psnr(engine, frozen, benchmark) for engine in ("torch", "openvino") for benchmark in sets]
    precisions = layer_precisions(to_openvino(frozen))
    bar, reached = "", None
    if setting.bar is not None:
        bar = f">= {setting.bar[0]:.3f} / {setting.bar[1]:.3f}"
        reached = scores[0] >= setting.bar[0] and scores[1] >= setting.bar[1]
    int8 = sum(layer.precision == "int8" for layer in precisions)
    return Row(setting.name, *scores, bar, reached, int8, relative, round(seconds, 1))


def psnr(engine: str, network: Network, benchmark: BenchmarkSet) -> float:
    """Mean Y-PSNR in dB."""
    running = open_engine(engine, network)
    return round(evaluate(partial(upscale_tile, running), benchmark, engine).psnr_y, 4)


def main() -> None:
    """Measure all settings and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="measure only settings whose name contains this text")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    shared = Path(os.environ.get("SRQUANT_SHARED", "../shared"))
    weights = shared / "weights" / "edsr" / "edsr_r8f64_x2.pt"
    network = load_model(weights)
    pictures = shared / "data" / "DIV2K_test_LR" / "LR_bicubic" / "X4"
    calibration = CalibrationSet(pictures, count=100, seed=arguments.seed, patch=48)
    sets = [BenchmarkSet(shared / "data" / name, 2) for name in ("Set5", "Set14")]
    rows = []
    for setting in SETTINGS:
        if arguments.only in setting.name:
            rows.append(measure(setting, network, calibration, sets, weights.stat().st_size))
            print(rows[-1], flush=True)
    about = (
        f"EDSR 8x64 x2, float {FLOAT[0]} / {FLOAT[1]} dB, head and tail 8 bit, seed {arguments.seed}. "
        "Y-PSNR in dB. Finetuning: all bounds, 6 passes of 50 steps, batch 2, learning rates relative to each range; "
        "with weights per channel: weight bounds alone. Compensated: `--set rounding=gptq`, nothing is learned."
    )
    columns = {
        "setting": "setting",
        "set5": "Set5",
        "set14": "Set14",
        "set5_openvino": "Set5 OpenVINO",
        "set14_openvino": "Set14 OpenVINO",
        "bar": "bar",
        "reached": "reached",
        "int8_convs": "int8 convs of 20",
        "size": "file / float",
        "seconds": "s to quantize",
    }
    report.write(arguments.output, "Quality", about, rows, columns)
    sys.exit(any(row.reached is False for row in rows))


if __name__ == "__main__":
    main()
