"""``srquant bench``: time and memory of a model in each engine."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.bars import progress
from srquant.cli.exported_model import open_for_command
from srquant.cli.options import (
    DEFAULT_INPUT,
    AnyModel,
    Device,
    InputSize,
    Json,
    Scale,
    Threads,
    input_size,
    usable_cores,
)
from srquant.cli.output import check_json, note, show, table, write_json
from srquant.temporary_folders import temporary_folder

if TYPE_CHECKING:
    from srquant.measure.speed.time_models import EngineName, ExportedModel, Measured

Rounds = Annotated[int, typer.Option(min=1, help="How often each engine is timed; the engines take turns.")]


def bench(
    model: AnyModel,
    size: InputSize = DEFAULT_INPUT,
    rounds: Rounds = 7,
    threads: Threads = None,
    device: Device = "auto",
    scale: Scale = None,
    json: Json = None,
) -> None:
    """Time a model in float, in ONNX Runtime's own int8 and in srquant's integer arithmetic, one process each.

    These run on the CPU. With another --device, PyTorch on it is timed as well. Of an exported model only its own
    engine is timed.
    """
    height, width = input_size(size)
    check_json(json)

    from srquant.measure.speed.time_models import time_models
    from srquant.models.checkpoint import is_exported

    threads = threads or usable_cores()
    with temporary_folder() as folder:
        if is_exported(model):
            models = [exported_row(model, scale, device, height, width)]
        else:
            models = export_rows(model, scale, device, folder)
        with progress() as step:
            measured = time_models(models, height, width, threads, rounds, partial(step, "rounds"))
    rows = table("engine", "precision", "median ms", "min ms", "max ms", "peak MB", title=f"{model.name}, {size}")
    for row in to_rows(measured):
        rows.add_row(*(f"{value:.1f}" if isinstance(value, float) else value for value in row.values()))
    show(rows, json_to=json)
    write_json({"rows": to_rows(measured), "input": [height, width], "threads": threads}, json)


def export_rows(model: Path, scale: int | None, device: str, folder: Path) -> "list[ExportedModel]":
    """The forms of a checkpoint or quantized file that are timed."""
    from srquant.deploy.file.open_model import open_model
    from srquant.devices import CPU, find_device
    from srquant.measure.speed.exported_models import export_all, export_for_device

    computing, opened = find_device(device), open_model(model, scale)
    note("exporting")
    models = export_all(opened, folder)
    return models if computing == CPU else models + export_for_device(opened, str(computing), folder)


def exported_row(model: Path, scale: int | None, device: str, height: int, width: int) -> "ExportedModel":
    """An exported model as it is timed."""
    from srquant.measure.speed.time_models import ExportedModel
    from srquant.upscale.exported.sizes import check_size

    running = open_for_command(model, scale=scale, device=device)
    check_size(running.facts, running.tiling.largest, height, width)
    kind: EngineName = "openvino" if running.name == "openvino" else "onnxruntime"
    return ExportedModel(kind, running.precision(), kind, model)


def to_rows(measured: "list[Measured]") -> list[dict[str, str | float]]:
    """The results as JSON; scripts rely on these keys."""
    return [
        {
            "engine": m.model.engine,
            "precision": m.model.precision,
            "median_ms": round(m.timing.median_ms, 3),
            "min_ms": round(m.timing.min_ms, 3),
            "max_ms": round(m.timing.max_ms, 3),
            "peak_rss_mb": round(m.peak_memory / 1e6, 1),
        }
        for m in measured
    ]
