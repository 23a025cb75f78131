"""Exported models as the argument MODEL: options that don't apply to them, and what ``info`` shows."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from srquant.cli.output import bits_text, show, table, write_json
from srquant.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from srquant.deploy.layer_precision import LayerPrecision
    from srquant.upscale.exported.exported_engine import ExportedEngine


def open_for_command(
    path: Path,
    engine: str = "auto",
    threads: int | None = None,
    scale: int | None = None,
    depth: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
    float_precision: str = "f32",
) -> "ExportedEngine":
    """Open an exported model with the options of a command.

    Raises:
        InputError: an option asks for what the file isn't; else as ``open_exported``.
        EngineError: the engine isn't installed.
    """
    from srquant.deploy.openvino.float_precision import check_float_precision
    from srquant.upscale.exported.open_exported import open_exported

    wrong = {
        f"--depth {depth}": depth is not None,
        f"--device {device}": device not in ("auto", "cpu"),
        f"--precision {precision}": precision not in ("auto", "32"),
        "--compile": compiled,
    }
    for option, given in wrong.items():
        if given:
            raise InputError(f"{option}: {path} is exported and runs on the CPU as it is; leave the option out")
    running = open_exported(path, engine, threads, check_float_precision(float_precision))
    if scale not in (None, running.facts.scale):
        raise InputError(f"--scale {scale}: {path} upscales by {running.facts.scale}; leave the option out")
    return running


def show_info(path: Path, scale: int | None, depth: int | None, json: str | None) -> None:
    """What ``srquant info`` shows of an exported model."""
    running = open_for_command(path, scale=scale, depth=depth)
    layers = running.layer_precisions()
    size = sum(file.stat().st_size for file in running.file.files)
    show(
        layer_table(running, layers),
        f"{running.facts.architecture} x{running.facts.scale}, RGB 0-1, exported, runs in {running.name}",
        f"{size:,} bytes",
        running.tiling.describe(),
        json_to=json,
    )
    write_json(to_json(running, layers, size), json)


def layer_table(running: "ExportedEngine", layers: "list[LayerPrecision]") -> "Table":
    """One row per layer of the graph: its precision on this machine, and its bits where the file names them."""
    known = {} if running.record is None else {layer.name: layer for layer in running.record.layers}
    rows = table("layer", "weight bits", "activation bits", "precision")
    for layer in layers:
        record = known.get(layer.name)
        bits = (None, None) if record is None else (record.weight_bits, record.activation_bits)
        rows.add_row(layer.name, *map(bits_text, bits), layer.precision)
    return rows


def to_json(running: "ExportedEngine", layers: "list[LayerPrecision]", size: int) -> dict[str, object]:
    """The results as JSON; scripts rely on these keys. Bits are null where the file doesn't name them."""
    known = {} if running.record is None else {layer.name: layer for layer in running.record.layers}
    return {
        "architecture": running.facts.architecture,
        "scale": running.facts.scale,
        "engine": running.name,
        "size_bytes": size,
        "layers": [
            {
                "name": layer.name,
                "weight_bits": known[layer.name].weight_bits if layer.name in known else None,
                "activation_bits": known[layer.name].activation_bits if layer.name in known else None,
                "precision": layer.precision,
            }
            for layer in layers
        ],
        "tile_overlap": running.tiling.overlap,
        "tiles_exact": running.tiling.exact,
    }


def bit_report(running: "ExportedEngine") -> dict[str, Any] | None:
    """What ``srquant evaluate`` reports of the layers on grids, as JSON; None if the file names none."""
    if not running.quantized_layers:
        return None
    floats = running.float_layers()
    return {
        "engine": running.name,
        "float_layers": [layer.name for layer in running.quantized_layers if layer.name in floats],
        "layers": [
            {"name": layer.name, "activation_bits": layer.activation_bits, "weight_bits": layer.weight_bits}
            for layer in running.quantized_layers
        ],
    }


def bit_line(running: "ExportedEngine", floats: list[str]) -> str:
    """``bit_report`` as a line of text."""
    counts: dict[str, int] = {}
    for layer in running.quantized_layers:
        bits = f"{layer.weight_bits}/{layer.activation_bits}"
        counts[bits] = counts.get(bits, 0) + 1
    kinds = ", ".join(f"{count} layers of {bits}" for bits, count in counts.items())
    names = f": {', '.join(floats)}" if floats else ""
    return f"{kinds} bits (weights/activations), engine {running.name}, {len(floats)} of them in float{names}"
