"""Files for TensorRT, run in ONNX Runtime: how far their pictures are those of PyTorch. TensorRT itself isn't run.

    python benchmarks/tensorrt_form.py -o docs/results/tensorrt

``mse`` quantizes each network with five crops; the pictures are crops of Set5. ``$SRQUANT_SHARED`` has pictures and
weights.
"""

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import report
import torch
from numpy.typing import NDArray
from ptq_rows import CALIBRATION
from ptq_run import shared

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.quality.metrics import psnr_y
from srquant.methods.registry import METHODS
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.exported.open_exported import open_exported
from srquant.upscale.exported.write import export_for_tensorrt
from srquant.upscale.tiles.upscale_tiles import upscale_tile

Picture = NDArray[np.uint8]

SIDE = 56
"""Of the crops in pixels; the narrowest picture at x4 has as many."""

NETWORKS = {
    "EDSR 8x64 x2": "edsr/edsr_r8f64_x2.pt",
    "EDSR 16x64 x4": "edsr/edsr_r16f64_x4_own.pt",
    "MSRResNet x4": "srresnet/msrresnet_branch1_x4.pth",
    "RLFN x4": "rlfn/rlfn_x4.pth",
    "RFDN x4": "rfdn/RFDN_AIM_x4.pth",
    "IMDTN x4": "imdtn_swin/team09_imdtn_x4.pth",
}
W4, W7, W8 = (LayerBits(bits, bits) for bits in (4, 7, 8))
POLICIES = {"W4A4": Policy(W4), "W7A7": Policy(W7), "W8A8": Policy(W8), "W8A8, 8-bit sums": Policy(W8, skip_bits=8)}


@dataclass(frozen=True)
class Row:
    """One network in one form of quantization.

    Attributes:
        network: name.
        policy: bits.
        layers: ``int8`` layers of all layers in the file.
        equal: percent of 8-bit values that are PyTorch's.
        near: percent that differ by at most one grey level.
        largest: difference in grey levels.
        runtime_equal: as ``equal``, of the form for ONNX Runtime.
        psnr: Y-PSNR of PyTorch's crops, mean in dB.
        psnr_file: of the file's crops.
    """

    network: str
    policy: str
    layers: str
    equal: float
    near: float
    largest: int
    runtime_equal: float
    psnr: float
    psnr_file: float


def pairs(scale: int) -> list[tuple[Picture, Picture]]:
    """Low- and high-resolution crops of Set5."""
    found = BenchmarkSet(shared() / "data" / "Set5", scale)
    return [(pair.low[:SIDE, :SIDE], pair.high[: SIDE * scale, : SIDE * scale]) for pair in found]


def exported(network: Network) -> tuple[Engine, str]:
    """The file's engine, and how many of its layers ask for int8."""
    with tempfile.TemporaryDirectory() as folder:
        layers = export_for_tensorrt(network, Path(folder, "m.onnx"), SIDE, SIDE)
        counts = Counter(layer.precision for layer in layers)
        return open_exported(Path(folder, "m.onnx"), threads=1), f"{counts['int8']} of {counts.total()}"


def measure(name: str, kind: str) -> Row:
    """Quantize, export, and upscale."""
    network, method = load_model(shared() / "weights" / NETWORKS[name]), METHODS["mse"]
    scale = network.facts.scale
    crops = CalibrationSet(shared() / CALIBRATION, 5, patch=48)
    frozen = freeze(method.quantize(network, crops, POLICIES[kind], method.config())).network
    file, layers = exported(frozen)
    engines = open_engine("torch", frozen), file, open_engine("onnxruntime", frozen, 1)
    lows, highs = zip(*pairs(scale), strict=True)
    torch_pictures, ours, theirs = ([upscale_tile(engine, low) for low in lows] for engine in engines)
    difference = np.stack(ours).astype(int) - np.stack(torch_pictures)
    scores = [
        np.mean([psnr_y(*both, scale) for both in zip(made, highs, strict=True)]) for made in (torch_pictures, ours)
    ]
    return Row(
        name,
        kind,
        layers,
        100 * float((difference == 0).mean()),
        100 * float((abs(difference) <= 1).mean()),
        int(abs(difference).max()),
        100 * float((np.stack(theirs) == np.stack(torch_pictures)).mean()),
        *map(float, scores),
    )


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in NETWORKS:
        for kind in POLICIES:
            rows.append(measure(name, kind))
            print(rows[-1], flush=True)
    about = (
        f"Files that `srquant export --target tensorrt --input {SIDE}x{SIDE}` writes, run in ONNX Runtime on crops of "
        "Set5; TensorRT itself wasn't run. `mse` quantized each network. Equal values: with PyTorch's picture, also "
        "those of the form for ONNX Runtime. dB: mean Y-PSNR of the crops."
    )
    columns = {
        "network": "network",
        "policy": "bits",
        "layers": "int8 layers",
        "equal": "equal values, %",
        "near": "within one grey level, %",
        "largest": "largest difference",
        "runtime_equal": "ONNX Runtime's form: equal values, %",
        "psnr": "PyTorch, dB",
        "psnr_file": "file, dB",
    }
    report.write(arguments.output, "Files for TensorRT", about, rows, columns)


if __name__ == "__main__":
    main()
