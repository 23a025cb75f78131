"""``srquant evaluate``: PSNR and SSIM on benchmark sets."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srquant.cli.argument_order import check_order
from srquant.cli.bars import progress
from srquant.cli.engine_place import find_place
from srquant.cli.exported_model import bit_line, open_for_command
from srquant.cli.exported_model import bit_report as exported_bits
from srquant.cli.options import (
    DEFAULT_PIXELS,
    AnyModel,
    Compile,
    Depth,
    Device,
    Engine,
    FloatPrecision,
    Json,
    MaxPixels,
    Precision,
    Scale,
    Threads,
)
from srquant.cli.output import check_json, show, table, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from srquant.data.benchmark import BenchmarkSet
    from srquant.deploy.frozen.freeze import FrozenModel
    from srquant.measure.quality.patches import Measure
    from srquant.measure.quality.scores import Report
    from srquant.upscale.engines.protocol import Engine as Running

MOST_NAMES = 4
"""Layer names that are shown in one line."""

Data = Annotated[
    list[Path],
    typer.Option(
        metavar="DIR",
        show_default=False,
        help="Benchmark set: folder with HR and, if present, LR_bicubic/X2; repeatable.",
    ),
]
Patch = Annotated[
    int | None, typer.Option(min=1, help="Upscale patches of this side one by one, as some papers do with 96.")
]


def evaluate(
    model: AnyModel,
    data: Data,
    engine: Engine = "auto",
    patch: Patch = None,
    scale: Scale = None,
    depth: Depth = None,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Compile = False,
    float_precision: FloatPrecision = "f32",
    max_pixels: MaxPixels = DEFAULT_PIXELS,
    json: Json = None,
) -> None:
    """Measure PSNR and SSIM on benchmark sets."""
    check_order(model, map(str, data), "MODEL --data DIR")
    check_json(json)

    from srquant.models.checkpoint import is_exported

    if is_exported(model):
        exported = open_for_command(model, engine, threads, scale, depth, device, precision, compiled, float_precision)
        reports = score(exported, benchmark_sets(data, exported.facts.scale, max_pixels), exported.fab, patch)
        spent = exported_bits(exported)
        show_scores(reports, spent, [] if spent is None else [bit_line(exported, spent["float_layers"])], json)
        return

    from srquant.deploy.file.open_model import open_model
    from srquant.deploy.frozen.freeze import FrozenModel
    from srquant.measure.cost.layer_costs import picture_fab

    place = find_place(device, engine, precision, compiled, float_precision)
    opened = open_model(model, scale, depth)
    network = opened.network if isinstance(opened, FrozenModel) else opened
    sets = benchmark_sets(data, network.facts.scale, max_pixels)
    running = place.open_engine(network, threads)
    reports = score(running, sets, picture_fab(network), patch)
    spent = bit_report(opened, running, sets[0], patch) if isinstance(opened, FrozenModel) else None
    show_scores(reports, spent, [] if spent is None else bit_lines(spent), json)


def benchmark_sets(folders: list[Path], scale: int, max_pixels: int) -> "list[BenchmarkSet]":
    """The sets in folders, for a network of this scale, of pictures of ``max_pixels`` at most."""
    from srquant.data.benchmark import BenchmarkSet

    return [BenchmarkSet(folder, scale, max_pixels) for folder in folders]


def score(
    running: "Running", sets: "list[BenchmarkSet]", fab: "float | Measure | None", patch: int | None
) -> "list[Report]":
    """The scores of an engine on each set."""
    from srquant.measure.quality import scores
    from srquant.upscale.tiles.upscale_tiles import upscale_whole

    upscaler = partial(upscale_whole, running)
    with progress() as step:
        return [
            scores.evaluate(upscaler, benchmark, running.name, fab, patch, partial(step, benchmark.name))
            for benchmark in sets
        ]


def show_scores(reports: "list[Report]", spent: dict[str, Any] | None, lines: list[str], json: str | None) -> None:
    """Print the scores and what is said about bits, and write both as JSON."""
    show(*(score_table(report) for report in reports), *lines, json_to=json)
    values = [report.to_json() | {"bits": spent} for report in reports]
    write_json(values[0] if len(values) == 1 else values, json)


def bit_report(model: "FrozenModel", engine: "Running", benchmark: "BenchmarkSet", patch: int | None) -> dict[str, Any]:
    """Bits and operations of a quantized network and the engine that runs it, as JSON.

    Codes are counted on pictures of the set.
    """
    from srquant.measure.cost.report import SIDE, centre_crops, cost_report
    from srquant.upscale.engines.float_layers import quantized_layers_in_float

    spent = cost_report(model, centre_crops(benchmark, min(SIDE, patch or SIDE)))
    return spent.to_json() | {"engine": engine.name, "float_layers": list(quantized_layers_in_float(engine, model))}


def bit_lines(spent: dict[str, Any]) -> list[str]:
    """``bit_report`` as lines of text."""
    floats = spent["float_layers"]
    where = "that no engine computes in integers" if spent["engine"] == "torch" else "in float"
    left = f", {len(floats)} quantized layers {where}{': ' if floats else ''}{first_names(floats)}"
    return [
        f"effective bits {spent['effective']} (log2 of codes used between head and tail)",
        f"all layers: {spent['activation_bits']:.2f} bits weighted by multiply-accumulates, "
        f"{spent['weight_bits']:.2f} weighted by weights, {spent['bit_ops'] / 1e12:.3f} T bit operations for 180x320",
        f"{spent['ranges']} ranges, engine {spent['engine']}{left}",
        *([] if spent["sentence"] is None else [f"† {spent['sentence']}"]),
    ]


def first_names(layers: list[str]) -> str:
    """The first names of a list, as text."""
    return ", ".join(layers[:MOST_NAMES]) + (", ..." if len(layers) > MOST_NAMES else "")


def score_table(report: "Report") -> "Table":
    """One row per picture, and the means."""
    bits = "" if report.fab is None else f", FAB {report.fab:.2f}"
    rows = table(
        "picture", "PSNR-Y", "SSIM-A", "SSIM-B", title=f"{report.dataset} x{report.scale}, {report.engine}{bits}"
    )
    for image in report.images:
        rows.add_row(image.name, f"{image.psnr_y:.3f}", f"{image.ssim_a:.4f}", f"{image.ssim_b:.4f}")
    rows.add_section()
    rows.add_row("mean", f"{report.psnr_y:.3f}", f"{report.ssim_a:.4f}", f"{report.ssim_b:.4f}")
    return rows
