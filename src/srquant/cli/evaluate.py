"""``srquant evaluate``: PSNR and SSIM on benchmark sets."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.options import Engine, Json, Model, Scale, Threads
from srquant.cli.output import check_json, progress, show, table, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from srquant.evaluate.evaluate import Report

Data = Annotated[
    list[Path],
    typer.Option(metavar="DIR", show_default=False, help="Set with HR and maybe LR_bicubic/X2; may be repeated."),
]
Patch = Annotated[int | None, typer.Option(min=1, help="Upscale patches of this side one by one; papers use 96.")]


def evaluate(
    model: Model,
    data: Data,
    engine: Engine = "auto",
    patch: Patch = None,
    scale: Scale = None,
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Measure PSNR and SSIM on benchmark sets."""
    check_json(json)

    from srquant.data.benchmark import BenchmarkSet
    from srquant.deploy.accounting import picture_fab
    from srquant.deploy.opening import open_network
    from srquant.evaluate import evaluate as scores
    from srquant.upscale.engines import open_engine
    from srquant.upscale.tiles import upscale_tile

    network = open_network(model, scale)
    sets = [BenchmarkSet(folder, network.facts.scale) for folder in data]
    running = open_engine(engine, network, threads)
    upscaler, bits = partial(upscale_tile, running), picture_fab(network)
    with progress() as step:
        reports = [
            scores.evaluate(upscaler, benchmark, running.name, bits, patch, partial(step, benchmark.name))
            for benchmark in sets
        ]
    show(*(score_table(report) for report in reports), json_to=json)
    values = [report.to_json() for report in reports]
    write_json(values[0] if len(values) == 1 else values, json)


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
