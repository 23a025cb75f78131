"""Time of networks with attention in OpenVINO: float, int8 with and without products, and what each rewrite saves.

    python benchmarks/attention.py --models DIR -o docs/results/attention

Exported models are kept in DIR, and made only if they aren't there: then all that runs is what is timed.
SwinIR-light x2 has random weights, DAT-light x2 published ones (``$SRQUANT_SHARED``). Each form runs in its own
process; they take turns, and the table has medians. Rows ``without ...`` leave out one part of what makes attention
fast; the float network's graph has none of them.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import report
import torch

from srquant.data.calibration import CalibrationSet
from srquant.deploy.export.tokens import moves
from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.openvino import operators
from srquant.deploy.openvino.model import save_openvino, to_openvino
from srquant.insertion import settle_on_lattice
from srquant.insertion.policy import LayerBits, LayerKind, Policy
from srquant.measure.speed.exported_models import write_noise
from srquant.measure.speed.time_models import EngineName, ExportedModel, time_models
from srquant.methods.default_layer_kinds import LAYERS, LAYERS_AND_PRODUCTS
from srquant.methods.registry import METHODS
from srquant.models.architectures.attention.swinir import SwinIR, facts
from srquant.models.load import load_model
from srquant.models.network import Network

SIDE = 128
DAT = "weights/dat/DAT_light_x2_nobuf.pth"
BIAS_DEVIATION = 0.5


@dataclass(frozen=True)
class Row:
    """One form of a network: milliseconds, and how many times faster than bfloat16 in the same turns."""

    network: str
    form: str
    rest: str
    median_ms: float
    min_ms: float
    max_ms: float
    vs_bfloat16: float


def swinir() -> Network:
    """SwinIR-light x2; its position biases are random too, as zeros would be left out."""
    torch.manual_seed(0)
    network = Network(SwinIR(scale=2), facts(scale=2)).eval()
    for name, parameter in network.named_parameters():
        if name.endswith("relative_position_bias_table"):
            torch.nn.init.trunc_normal_(parameter, std=BIAS_DEVIATION)
    return network


def dat() -> Network:
    """DAT-light x2."""
    return load_model(Path(os.environ["SRQUANT_SHARED"]) / DAT)


def left_out(module: Any, name: str) -> AbstractContextManager[Any]:
    """A part of the export that does nothing."""
    return patch.object(module, name, lambda *_: None)


PARTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "": nullcontext,
    "without zeros in grids": lambda: left_out(settle_on_lattice, "hold_zeros"),
    "without quantization before moves": lambda: left_out(moves, "quantize_before_moves"),
    "without one quantization of queries, keys, values": lambda: left_out(moves, "quantize_parts_together"),
    "without lists of tokens": lambda: left_out(moves, "flatten_tokens"),
    "without rolls in two parts": lambda: patch.dict(operators.LIBRARY, {"aten.roll.default": roll}),
}


def roll(call: operators.Call) -> Any:
    """OpenVINO's own operation."""
    import openvino.opset13 as ops

    return ops.roll(call.value(0), *(ops.constant(call.integers(index)) for index in (1, 2)))


def integer_form(network: Network, kinds: tuple[LayerKind, ...], bits: int, folder: Path, name: str) -> Path:
    """Quantized by ``mse`` and exported."""
    pictures = folder / "noise"
    path, method, policy = folder / f"{name}.xml", METHODS["mse"], Policy(LayerBits(bits, bits), kinds=kinds)
    if path.exists():
        return path
    calibration = CalibrationSet(pictures if pictures.exists() else write_noise(pictures), count=2, patch=64)
    save_openvino(to_openvino(freeze(method.quantize(network, calibration, policy, method.config())).network), path)
    return path


def forms(network: Network, folder: Path, parts: list[str]) -> Iterator[tuple[str, Path]]:
    """The forms of a network, by what the table calls them."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "float.xml").exists():
        save_openvino(to_openvino(network), folder / "float.xml")
    yield "float", folder / "float.xml"
    yield "W8A8 layers", integer_form(network, LAYERS, 8, folder, "layers")
    yield "W4A4 layers and products", integer_form(network, LAYERS_AND_PRODUCTS, 4, folder, "products4")
    for number, part in enumerate(parts):
        with PARTS[part]():
            path = integer_form(network, LAYERS_AND_PRODUCTS, 8, folder, f"products{number}")
        yield f"W8A8 layers and products {part}".strip(), path


def measure(name: str, network: Network, folder: Path, parts: list[str], rounds: int, threads: int) -> list[Row]:
    """All forms of a network, each with float32 and with bfloat16 for what isn't quantized."""
    kinds: dict[str, EngineName] = {"float32": "openvino", "bfloat16": "openvino-bf16"}
    models = [
        ExportedModel(form, rest, kind, path)
        for form, path in forms(network, folder, parts)
        for rest, kind in kinds.items()
        if "without" not in form or rest == "float32"
    ]
    measured = time_models(models, SIDE, SIDE, threads, rounds)
    times = {(m.model.engine, m.model.precision): m.timing for m in measured}
    bfloat16 = times["float", "bfloat16"].median_ms
    return [Row(name, *form, t.median_ms, t.min_ms, t.max_ms, bfloat16 / t.median_ms) for form, t in times.items()]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows: list[Row] = []
    for name, make, parts in (("SwinIR-light x2", swinir, list(PARTS)), ("DAT-light x2", dat, [""])):
        timed = arguments.models / make.__name__, parts, arguments.rounds, arguments.threads
        rows += measure(name, make(), *timed)
    about = (
        f"{SIDE}x{SIDE} pixels, {arguments.threads} threads, OpenVINO, {arguments.rounds} rounds in turns, medians in "
        "ms. 'rest': what isn't quantized. Last column: time of the float network in bfloat16 over that of the row."
    )
    columns = {
        "network": "network",
        "form": "form",
        "rest": "rest",
        "median_ms": "median ms",
        "min_ms": "min",
        "max_ms": "max",
        "vs_bfloat16": "times as fast as bfloat16",
    }
    report.write(arguments.output, "Attention", about, rows, columns)


if __name__ == "__main__":
    main()
