"""Any network, from a file to an exact integer network: which steps work, and whether engines agree.

    python benchmarks/any_network.py -o RUNS                             all networks, one process each
    python benchmarks/any_network.py -o RUNS --network 'SwinIR*'         some of them
    python benchmarks/any_network.py -o RUNS --assemble docs/results/any_network

Each network is loaded from a file, quantized to 8 bits (``tails``, grids per channel, 4 crops), saved, loaded where
spandrel can't be imported, run by PyTorch, OpenVINO and ONNX Runtime, exported as .xml and .onnx, and upscaled
in tiles. Finished networks are not repeated. Random ones need ``pip install 'srquant[spandrel]'``. Pictures and
weights: ``$SRQUANT_SHARED``.
"""

import argparse
import fnmatch
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from any_networks import FILES, RANDOM
from finished import finished, path_of
from numpy.typing import NDArray

from srquant.data.calibration import CalibrationSet
from srquant.data.images import read_rgb
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.deploy.onnx.model import save_onnx, to_onnx
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.errors import SRQuantError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.registry import METHODS
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.models.spandrel import import_spandrel
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.tiles.upscale_tiles import upscale_array

PICTURE = "data/Set5/LR_bicubic/X4/babyx4.png"
CALIBRATION = "data/DIV2K_test_LR/LR_bicubic/X4"
CROPS, PATCH, TILE = 4, 48, 96
SECONDS = 900
"""Limit for one network."""

FAILED = "a failure: "
"""Before errors that no step was meant to raise."""

SUFFIX = " (spandrel)"
"""Behind the names of random networks."""

Pixels = NDArray[np.uint8]


@dataclass
class Result:
    """What one network did.

    Attributes:
        network: its name.
        weights: ``published`` or ``random``.
        scale: upscaling factor.
        psnr: of the 8-bit picture against the float picture, in dB.
        openvino: share of values of the picture that OpenVINO and PyTorch make equal up to one grey level, and the
            largest difference.
        onnxruntime: the same of ONNX Runtime.
        tiles: largest difference between tiles of 96x96 and the whole picture, in grey levels.
        seconds: of each step, by its name.
        reason: why a step was refused; empty if all worked.
    """

    network: str
    weights: str
    scale: int = 0
    psnr: float | None = None
    openvino: str = ""
    onnxruntime: str = ""
    tiles: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    reason: str = ""

    @property
    def verdict(self) -> str:
        """For the table."""
        if self.reason.startswith(FAILED):
            return f"failed: {self.reason.removeprefix(FAILED)}"
        return f"refused at {self.reason}" if self.reason else "all steps"


def shared() -> Path:
    """The folder of pictures and weights."""
    return Path(os.environ["SRQUANT_SHARED"])


def checkpoint(name: str, folder: Path) -> Path:
    """The file of a network; random weights are written first."""
    if name in FILES:
        return shared() / FILES[name]
    torch.manual_seed(0)
    weights = random_module(name.removesuffix(SUFFIX)).state_dict()
    path = folder / "network.pth"
    torch.save({key: value.contiguous().clone() for key, value in weights.items()}, path)
    return path


def random_module(name: str) -> torch.nn.Module:
    """A network of spandrel by the name of its class."""
    import_spandrel()
    random = RANDOM[name]
    top = importlib.import_module(f"spandrel.architectures.{random.architecture}")
    folder = Path(top.__path__[0])
    for file in sorted(folder.glob("__arch/**/*.py")):
        inside = ".".join(file.relative_to(folder).with_suffix("").parts)
        found = getattr(importlib.import_module(f"{top.__name__}.{inside}"), random.module, None)
        if isinstance(found, type):
            module: torch.nn.Module = found(**random.sizes)
            return module
    raise SystemExit(f"spandrel has no class {random.module} in {folder}")


def run(name: str) -> Result:
    """All steps of one network, as far as they work."""
    result = Result(name, "published" if name in FILES else "random")
    with tempfile.TemporaryDirectory() as folder:
        try:
            for step in steps(name, Path(folder), result):
                result.reason = step
        except SRQuantError as error:
            result.reason += f": {str(error).replace(str(shared()), '').replace(folder, '')}"
        else:
            result.reason = ""
    return result


def steps(name: str, folder: Path, result: Result) -> Iterator[str]:
    """Do the steps, and give each step's name before it."""
    timed = Timer(result.seconds)
    yield "load"
    path = checkpoint(name, folder)
    network = timed("load", lambda: load_model(path))
    result.scale = network.facts.scale
    yield "quantize"
    quantized = timed("quantize", lambda: quantize(network))
    yield "save"
    file = folder / "network.safetensors"
    timed("save", lambda: save(quantized, file))
    yield "load without spandrel"
    model = timed("load the file", lambda: load_without_spandrel(file))
    yield from compare(network, model, timed, result, folder)


def compare(network: Network, model: FrozenModel, timed: "Timer", result: Result, folder: Path) -> Iterator[str]:
    """Run the frozen network in three engines and in tiles, and export it."""
    picture = read_rgb(shared() / PICTURE)
    float_picture = upscale_array(open_engine("torch", network), picture)
    yield "torch"
    expected = timed("torch", lambda: upscale_array(open_engine("torch", model.network), picture))
    result.psnr = psnr(expected, float_picture)
    yield "openvino"
    result.openvino = agreement(timed("openvino", lambda: engine_picture("openvino", model, picture)), expected)
    yield "onnxruntime"
    result.onnxruntime = agreement(
        timed("onnxruntime", lambda: engine_picture("onnxruntime", model, picture)), expected
    )
    yield "export"
    timed("export .xml", lambda: save_openvino(to_openvino(model.network), folder / "network.xml"))
    timed("export .onnx", lambda: save_onnx(to_onnx(model.network), folder / "network.onnx"))
    yield "tiles"
    tiled = timed("tiles", lambda: upscale_array(open_engine("torch", model.network), picture, tile=TILE))
    result.tiles = int(np.abs(tiled.astype(int) - expected).max())


class Timer:
    """Calls functions and keeps how long they take."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    def __call__(self, step: str, function: Callable[[], Any]) -> Any:
        """The function's result."""
        start = time.perf_counter()
        value = function()
        self.seconds[step] = round(time.perf_counter() - start, 2)
        return value


def quantize(network: Network) -> FrozenModel:
    """8 bits, without learning."""
    patch = PATCH + network.facts.padding(PATCH)
    calibration = CalibrationSet(shared() / CALIBRATION, count=CROPS, patch=patch)
    method = METHODS["tails"]
    policy = Policy(LayerBits(8, 8), granularity="channel", activation_granularity="channel")
    return freeze(method.quantize(network, calibration, policy, method.config()))


def load_without_spandrel(file: Path) -> FrozenModel:
    """Load a quantized file where spandrel can't be imported."""
    sys.modules["spandrel"] = None  # type: ignore[assignment]
    return load(file)


def engine_picture(engine: str, model: FrozenModel, picture: Pixels) -> Pixels:
    """The picture of an engine."""
    return upscale_array(open_engine(engine, model.network), picture)


def agreement(found: Pixels, expected: Pixels) -> str:
    """Share of values that differ by at most one grey level, and the largest difference."""
    difference = np.abs(found.astype(int) - expected)
    return f"{100 * (difference <= 1).mean():.2f} %, {difference.max()}"


def psnr(found: Pixels, expected: Pixels) -> float:
    """Of all values, in dB; 100 where they are equal."""
    error = float(np.square(found.astype(float) - expected).mean())
    return 100.0 if error == 0 else round(10 * float(np.log10(255**2 / error)), 2)


def run_all(names: list[str], runs: Path) -> None:
    """Run networks without a result, each in its own process."""
    runs.mkdir(parents=True, exist_ok=True)
    for name in names:
        path = path_of(runs, name)
        if path.exists():
            continue
        command = [sys.executable, __file__, "-o", str(runs), "--one", name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
            lines = done.stdout.strip().splitlines()
            text = lines[-1] if done.returncode == 0 and lines else failed(name, done.stderr.strip().splitlines()[-1])
        except subprocess.TimeoutExpired:
            text = failed(name, f"not finished after {SECONDS} s")
        path.write_text(text + "\n")
        print(text, flush=True)


def failed(name: str, reason: str) -> str:
    """The JSON of a network whose process failed."""
    return json.dumps(asdict(Result(name, "published" if name in FILES else "random", reason=FAILED + reason)))


def assemble(names: list[str], runs: Path, output: Path) -> None:
    """The table of all finished networks."""
    results = [Result(**values) for values in finished(runs, names)]
    rows = [asdict(result) | {"verdict": result.verdict} for result in results]
    columns = {
        "network": "network",
        "weights": "weights",
        "scale": "scale",
        "verdict": "steps",
        "psnr": "8 bit against float, dB",
        "openvino": "OpenVINO = PyTorch",
        "onnxruntime": "ONNX Runtime = PyTorch",
        "tiles": "tiles, grey levels",
    }
    report.write(output, "Any network", ABOUT, rows, columns)


ABOUT = (
    "From a file to an exact integer network: load, quantize to 8 bits (`tails`, grids per channel, 4 crops, no "
    "learning), save, load where spandrel can't be imported, run in three engines, export as .xml and .onnx, upscale "
    "in tiles. Engines: share of 8-bit values that differ by at most one grey level on one picture, and the largest "
    "difference. Random networks have reduced sizes; their PSNR only shows that they run."
)


def main() -> None:
    """Run one network, all of them, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS", help="folder of finished networks")
    parser.add_argument("--network", action="append", default=[], help="name or pattern; repeatable")
    parser.add_argument("--assemble", type=Path, metavar="OUTPUT", help="only write OUTPUT.json and OUTPUT.md")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = [*FILES, *(f"{name}{SUFFIX}" for name in RANDOM)]
    if arguments.one:
        print(json.dumps(asdict(run(arguments.one))))
    elif arguments.assemble:
        assemble(names, arguments.output, arguments.assemble)
    else:
        wanted = [n for n in names if not arguments.network or any(fnmatch.fnmatch(n, p) for p in arguments.network)]
        run_all(wanted, arguments.output)


if __name__ == "__main__":
    main()
