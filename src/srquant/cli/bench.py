"""``srquant bench``: time and memory of a model in each engine."""

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.options import DEFAULT_INPUT, Device, InputSize, Json, Model, Scale, Threads, input_size, usable_cores
from srquant.cli.output import check_json, note, progress, show, table, write_json

if TYPE_CHECKING:
    from srquant.measure.speed.time_models import Measured

Rounds = Annotated[int, typer.Option(min=1, help="How often each engine is timed; the engines take turns.")]


def bench(
    model: Model,
    size: InputSize = DEFAULT_INPUT,
    rounds: Rounds = 7,
    threads: Threads = None,
    device: Device = "auto",
    scale: Scale = None,
    json: Json = None,
) -> None:
    """Time a model in float, in ONNX Runtime's own int8 and in srquant's integer arithmetic, one process each.

    These run on the CPU. With another --device, PyTorch on it is timed as well.
    """
    height, width = input_size(size)
    check_json(json)

    from srquant.deploy.file.open_model import open_model
    from srquant.devices import CPU, find_device
    from srquant.measure.speed.exported_models import export_all, export_for_device
    from srquant.measure.speed.time_models import time_models

    computing, threads = find_device(device), threads or usable_cores()
    opened = open_model(model, scale)
    with tempfile.TemporaryDirectory() as folder:
        note("exporting")
        models = export_all(opened, Path(folder))
        if computing != CPU:
            models += export_for_device(opened, str(computing), Path(folder))
        with progress() as step:
            measured = time_models(models, height, width, threads, rounds, partial(step, "rounds"))
    rows = table("engine", "precision", "median ms", "min ms", "max ms", "peak MB", title=f"{model.name}, {size}")
    for row in to_rows(measured):
        rows.add_row(*(f"{value:.1f}" if isinstance(value, float) else value for value in row.values()))
    show(rows, json_to=json)
    write_json({"rows": to_rows(measured), "input": [height, width], "threads": threads}, json)


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
