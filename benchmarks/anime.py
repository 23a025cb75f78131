"""Real-ESRGAN anime 6B at 8 bits: how near the integer picture is to the float one, and how fast it is.

    python benchmarks/anime.py --model RUNS/anime.safetensors -o docs/results/anime

Quantized as by ``srquant quantize -w 8 -a 8`` without other options, which takes half an hour; not repeated where the
quantized file exists. Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import report
from numpy.typing import NDArray
from PIL import Image
from ptq_run import shared

from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.data.images import read_rgb
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.quality.metrics import psnr_y
from srquant.measure.speed.exported_models import export_float, export_integer
from srquant.measure.speed.time_models import time_models
from srquant.methods.registry import METHODS
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.tiles.upscale_tiles import upscale_array

WEIGHTS = "weights/rrdb/RealESRGAN_x4plus_anime_6B_fp16.pth"
CALIBRATION, BENCHMARK = "data/DIV2K_test_LR/LR_bicubic/X4", "data/Set5"
FREE, FREE_PICTURES = "data/gb82/HR", ("city", "dog", "flowers", "girl")
PICTURES, SIDE, ROUNDS = 100, 64, 15
CROP, GAP = 64, 8

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """A picture, or an engine's time.

    Attributes:
        name: of the picture or the engine.
        psnr_y: of the integer picture against the float one, dB.
        largest: difference of the two, grey levels.
        psnr_bf16: as ``psnr_y``, where what isn't quantized runs in bfloat16.
        milliseconds: for a picture of ``SIDE x SIDE``, median.
        ratio: time of the engine over that of the fastest.
    """

    name: str
    psnr_y: float | None = None
    largest: int | None = None
    psnr_bf16: float | None = None
    milliseconds: float | None = None
    ratio: float | None = None


def quantized(network: Network, path: Path) -> FrozenModel:
    """The network at 8 bits, from its file; made first where that is missing."""
    if not path.exists():
        method = METHODS["auto"]
        pictures = CalibrationSet(shared() / CALIBRATION, PICTURES)
        save(freeze(method.quantize(network, pictures, Policy(LayerBits(8, 8)), method.config())), path)
    return load(path)


def compare(engines: list[Engine], scale: int) -> list[Row]:
    """Every picture of the set by the float network, the integer one, and that with bfloat16."""
    rows = []
    for sample in BenchmarkSet(shared() / BENCHMARK, scale):
        exact, found, half = (upscale_array(engine, sample.low) for engine in engines)
        largest = int(np.abs(found.astype(int) - exact).max())
        psnr, psnr_bf16 = (round(psnr_y(picture, exact, 0), 3) for picture in (found, half))
        rows.append(Row(sample.name, psnr, largest, psnr_bf16))
    return rows


def write_crops(engines: list[Engine], path: Path) -> None:
    """The middle of some pictures, upscaled by the float network (left) and the integer one (right)."""
    crops = [centre(read_rgb(shared() / FREE / f"{name}-lossless.png")) for name in FREE_PICTURES]
    pairs = [[upscale_array(engine, crop) for engine in engines] for crop in crops]
    strips = [np.concatenate([exact, gap(len(exact)), found], axis=1) for exact, found in pairs]
    Image.fromarray(np.concatenate(strips)).save(path)


def centre(picture: Picture) -> Picture:
    """The middle ``CROP x CROP`` pixels."""
    top, left = ((size - CROP) // 2 for size in picture.shape[:2])
    return picture[top : top + CROP, left : left + CROP]


def gap(height: int) -> Picture:
    """White between two crops."""
    return np.full((height, GAP, 3), 255, np.uint8)


def speeds(network: Network, integer: Network) -> list[Row]:
    """Times of OpenVINO in float32, bfloat16, 8 bits, and 8 bits with bfloat16, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        models = [model for model in export_float(network, Path(folder)) if model.engine == "openvino"]
        ours = export_integer("openvino", integer, Path(folder))
        models += [ours, replace(ours, precision=f"{ours.precision}, rest bfloat16", kind="openvino-bf16")]
        measured = time_models(models, SIDE, SIDE, threads=2, rounds=ROUNDS)
    times = {f"OpenVINO {m.model.precision}": m.timing.median_ms for m in measured}
    fastest = min(times.values())
    return [Row(name, milliseconds=time, ratio=time / fastest) for name, time in times.items()]


def main() -> None:
    """Measure, write the table and the crops."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="quantized file, made first where it is missing")
    parser.add_argument("-o", "--output", type=Path, required=True, help="path without suffix")
    arguments = parser.parse_args()
    network = load_model(shared() / WEIGHTS).eval()
    model = quantized(network, arguments.model)
    engines = [open_engine("openvino", one) for one in (network, model.network)]
    half = open_engine("openvino", model.network, float_precision="bf16")
    write_crops(engines, arguments.output.with_suffix(".png"))
    rows = compare([*engines, half], network.facts.scale) + speeds(network, model.network)
    kept = ", ".join(override.pattern for override in model.policy.overrides) or "none"
    about = (
        f"`srquant quantize -w 8 -a 8` without other options: `auto`, {PICTURES} crops, seed 0. It chose grids per "
        f"{model.policy.granularity} and kept these layers float: {kept}. Y-PSNR of the integer network's picture "
        "against the float network's, both in OpenVINO, Set5 x4. "
        f"Times: {SIDE}x{SIDE}, two threads, {ROUNDS} rounds in turns, medians. "
        "Crops by the float (left) and the integer network (right), CC0 pictures of gb82: [anime.png](anime.png)."
    )
    columns = {
        "name": "picture or engine",
        "psnr_y": "Y-PSNR against float, dB",
        "largest": "largest difference",
        "psnr_bf16": "the rest in bfloat16, dB",
        "milliseconds": "ms",
        "ratio": "times the fastest",
    }
    report.write(arguments.output, "Real-ESRGAN anime 6B at 8 bits", about, rows, columns)


if __name__ == "__main__":
    main()
