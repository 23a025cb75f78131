"""One run of the benchmark in a separate process: quantize, save, load, evaluate; writes one JSON file.

    python benchmarks/ptq_run.py SETTINGS OUTPUT [--device NAME] [--quantize-only]

It is started by ``ptq.py``. The frozen network runs in OpenVINO if possible; the result on the first set is compared
with PyTorch's. A method that learns for long keeps its state in a folder beside the file, and the same command
continues a stopped run; the finished file has the curve, and the folder is removed. With ``--quantize-only`` the
frozen network stays beside the file, and the same command without it measures that network.
"""

import argparse
import csv
import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ptq_origin import origin

from srquant.cli.freed_memory import keep_freed_memory
from srquant.data.benchmark import BenchmarkSet
from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.devices import find_device
from srquant.errors import EngineError
from srquant.files import write_whole
from srquant.insertion.policy import Granularity, LayerBits, LayerKind, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.measure.cost.layer_costs import picture_fab
from srquant.measure.cost.report import centre_crops, cost_report
from srquant.measure.quality.patches import Measure
from srquant.measure.quality.scores import Report, evaluate
from srquant.measure.speed.worker import peak_memory
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.training.run_folder import RunFolder
from srquant.upscale.engines.float_layers import quantized_layers_in_float
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.tiles.upscale_tiles import upscale_tile

FLOAT = "float"
"""In place of a method: measure the network itself."""


@dataclass(frozen=True)
class Run:
    """All settings that decide the result of a run.

    Attributes:
        network: its name in tables.
        label: of the row.
        bits: of weights and activations of the body.
        seed: of the calibration set.
        method: in ``METHODS``, or ``float``.
        settings: ``name=value``, as ``srquant quantize --set`` takes them.
        layers: kinds that are quantized.
        count: calibration pictures.
        patch: side of their crops.
        weights: checkpoint, as ``checkpoint`` takes it.
        calibration: folder of pictures below ``shared()``.
        sets: benchmark sets below ``shared()``.
        granularity: of weight grids.
        activation_granularity: of activation grids.
    """

    network: str
    label: str
    bits: int
    seed: int
    method: str
    settings: tuple[str, ...]
    layers: tuple[LayerKind, ...]
    count: int
    patch: int
    weights: str
    calibration: str
    sets: tuple[str, ...]
    granularity: Granularity = "tensor"
    activation_granularity: Granularity = "tensor"


def shared() -> Path:
    """Folder of pictures and weights."""
    return Path(os.environ.get("SRQUANT_SHARED", "../shared"))


def checkpoint(weights: str) -> Path:
    """Where a network's weights are: below ``shared()``, or ``trained/...`` below ``$SRQUANT_TRAINED``."""
    kind, _, name = weights.partition("/")
    return Path(os.environ.get("SRQUANT_TRAINED", "trained")) / name if kind == "trained" else shared() / weights


@dataclass(frozen=True)
class Kept:
    """A frozen network that is kept until it is measured, beside the file of its run.

    Attributes:
        output: file of the run.
    """

    output: Path

    @property
    def network(self) -> Path:
        """The frozen network."""
        return self.output.with_suffix(".quantized.safetensors")

    @property
    def about(self) -> Path:
        """Settings of the run, version of the code, and what quantizing took."""
        return self.output.with_suffix(".quantized.json")

    def read(self, run: Run) -> dict[str, Any] | None:
        """``code`` and ``result``: what quantizing took; None where these settings have not been quantized yet."""
        found: dict[str, Any] = json.loads(self.about.read_text()) if self.about.exists() else {"run": None}
        return found if found["run"] == json.loads(json.dumps(asdict(run))) else None

    def remove(self) -> None:
        """Delete both files."""
        self.network.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)


def measure_float(run: Run) -> dict[str, Any]:
    """The content of the result file of a float network: scores by set."""
    network = load_model(checkpoint(run.weights))
    engine = open_engine("openvino", network, 1)
    return {"engine": engine.name, "scores": [scores(engine, benchmark, None) for benchmark in sets_of(run, network)]}


def measure(run: Run, frozen: FrozenModel) -> dict[str, Any]:
    """Scores by set, and the costs of the network."""
    sets = sets_of(run, frozen.network)
    engine, complaint = fastest(frozen.network)
    bits = picture_fab(frozen.network)
    measured = [scores(engine, benchmark, bits) for benchmark in sets]
    return {
        "float_size_bytes": checkpoint(run.weights).stat().st_size,
        **cost_report(frozen, centre_crops(sets[0])).to_json(),
        "engine": engine.name,
        "engine_complaint": complaint,
        "float_layers": quantized_layers_in_float(engine, frozen),
        "scores": measured,
        "torch_psnr_y": score(TorchEngine(frozen.network), sets[0]).psnr_y,
    }


def sets_of(run: Run, network: Network) -> list[BenchmarkSet]:
    """The pictures that the network is measured on."""
    return [BenchmarkSet(shared() / name, network.facts.scale) for name in run.sets]


def quantize_to_file(run: Run, path: Path, folder: RunFolder, device: torch.device) -> dict[str, Any]:
    """Quantize and save; what that took.

    The seconds are those of one processor core without a stop, so other devices and continued runs have none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    network, continued = load_model(checkpoint(run.weights)).to(device), folder.checkpoint.exists()
    start = time.perf_counter(), time.process_time()
    quantized = quantize(run, network, folder)
    seconds, processor_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    timed = device.type == "cpu" and not continued
    save(freeze(quantized), path, overwrite=True)
    return {
        "device": "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device),
        "seconds": seconds if timed else None,
        "processor_seconds": processor_seconds if timed else None,
        "peak_bytes": peak_memory("cpu"),
        "curve": curve(folder),
        "size_bytes": path.stat().st_size,
    }


def quantize(run: Run, network: Network, folder: RunFolder | None) -> QuantizedModel:
    """Run the method; one that can continue a stopped run does so."""
    method = METHODS[run.method]
    pictures = CalibrationSet(shared() / run.calibration, run.count, run.seed, run.patch)
    grids = {"granularity": run.granularity, "activation_granularity": run.activation_granularity}
    policy = Policy(LayerBits(run.bits, run.bits), kinds=run.layers, **grids)
    arguments = network, pictures, policy, configure(method.config, run.settings)
    if method.in_folder is None or folder is None:
        return method.quantize(*arguments)
    folder.path.mkdir(parents=True, exist_ok=True)
    return method.in_folder(*arguments, None, folder)


def curve(folder: RunFolder | None) -> list[dict[str, float]]:
    """Step, loss and held-out loss while the network learned; empty for methods without a curve."""
    if folder is None or not folder.metrics.exists():
        return []
    with folder.metrics.open(newline="", encoding="utf-8") as file:
        return [{name: float(row[name]) for name in ("step", "loss", "held_out_loss")} for row in csv.DictReader(file)]


def through_file(quantized: QuantizedModel) -> tuple[FrozenModel, int]:
    """The network after saving and loading it, and the size of the file in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        save(freeze(quantized), path)
        return load(path), path.stat().st_size


def fastest(network: Network) -> tuple[Engine, str | None]:
    """OpenVINO; or PyTorch, with the reason why not OpenVINO."""
    try:
        return open_engine("openvino", network, 1), None
    except EngineError as error:
        return TorchEngine(network), str(error)


def scores(engine: Engine, benchmark: BenchmarkSet, bits: float | Measure | None) -> dict[str, Any]:
    """Means over a set."""
    report = score(engine, benchmark, bits)
    return {
        "set": report.dataset,
        "psnr_y": report.psnr_y,
        "ssim_a": report.ssim_a,
        "ssim_b": report.ssim_b,
        "fab": report.fab,
    }


def score(engine: Engine, benchmark: BenchmarkSet, bits: float | Measure | None = None) -> Report:
    """Upscale a set."""
    return evaluate(partial(upscale_tile, engine), benchmark, engine.name, bits)


def write(value: dict[str, Any], path: Path) -> None:
    """Write JSON; the file is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(value, indent=1) + "\n").encode())


def from_json(text: str) -> Run:
    """The run that ``json.dumps(asdict(run))`` described."""
    return Run(**{name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(text).items()})


def make(run: Run, output: Path, device: torch.device, *, quantize_only: bool = False) -> None:
    """Quantize and measure, from where an earlier process stopped; write the run's file."""
    about, made_from = {"run": asdict(run)}, origin(shared())
    if run.method == FLOAT:
        if not quantize_only:
            write({**about, **made_from, "result": measure_float(run)}, output)
        return
    kept, folder = Kept(output), RunFolder(output.with_suffix(f".{made_from['code']}.run"))
    found = kept.read(run)
    if found is None:
        found = {**about, "code": made_from["code"], "result": quantize_to_file(run, kept.network, folder, device)}
        write(found, kept.about)
    if not quantize_only:
        result = found["result"] | measure(run, load(kept.network))
        write({**about, **made_from, "code": found["code"], "result": result}, output)
        kept.remove()
    shutil.rmtree(folder.path, ignore_errors=True)


def main() -> None:
    """Measure the run on the command line."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=from_json)
    parser.add_argument("output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quantize-only", action="store_true")
    arguments = parser.parse_args()
    make(arguments.run, arguments.output, find_device(arguments.device), quantize_only=arguments.quantize_only)


if __name__ == "__main__":
    main()
