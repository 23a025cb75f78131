"""``srquant upscale``: upscale pictures and folders of them."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.argument_order import check_order
from srquant.cli.engine_place import find_place
from srquant.cli.exported_model import open_for_command
from srquant.cli.options import (
    AnyModel,
    Compile,
    Depth,
    Device,
    Engine,
    FloatPrecision,
    Json,
    Overwrite,
    Precision,
    Scale,
    Threads,
)
from srquant.cli.output import check_json, note
from srquant.cli.upscale_choices import choices
from srquant.cli.upscale_inputs import find_inputs
from srquant.cli.upscale_run import show_picture, show_report, upscale_one, upscale_several
from srquant.cli.upscale_streams import check_one, check_streams, files_for_streams
from srquant.cli.upscale_work import one_job, plan_of

if TYPE_CHECKING:
    from srquant.upscale.engines.protocol import Engine as OpenEngine

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT",
        show_default=False,
        help="Pictures, folders of them, or patterns such as 'shots/*.png'; - reads a picture from stdin.",
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH|-",
        show_default=False,
        help="The picture to write, or the folder for several (FOLDER/ also for one); - writes a picture to stdout.",
    ),
]
Tile = Annotated[
    str,
    typer.Option(metavar="auto|N", help="Side of a tile in input pixels; auto: as large as the free memory allows."),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="SUFFIX",
        show_default=False,
        help="For folders and stdout: png, jpg, ...; default: the format of each input, and PNG for stdout.",
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(
        min=1, max=100, show_default="95", help="Of JPEG and WebP: 1 (smallest files) to 100 (best pictures)."
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        show_default=False,
        help="Most pixels of a result; default: 2^31, and 2^27 of a picture that must be in memory as a whole.",
    ),
]
Tolerant = Annotated[bool, typer.Option("--tolerant", help="Read JPEG files that lack only their end marker.")]


def upscale(
    model: AnyModel,
    sources: Sources,
    output: Output,
    engine: Engine = "auto",
    tile: Tile = "auto",
    suffix: Format = None,
    quality: Quality = None,
    scale: Scale = None,
    depth: Depth = None,
    threads: Threads = None,
    device: Device = "auto",
    precision: Precision = "auto",
    compiled: Compile = False,
    float_precision: FloatPrecision = "f32",
    overwrite: Overwrite = False,
    max_pixels: MaxPixels = None,
    tolerant: Tolerant = False,
    json: Json = None,
) -> None:
    """Upscale pictures, and folders with their subfolders; run it again to continue an interrupted folder."""
    chosen = choices(tile, suffix, quality, overwrite, max_pixels, tolerant)
    check_order(model, sources, "MODEL INPUT")
    check_json(json)
    check_streams(sources, output, json)
    start = time.perf_counter()

    def opened() -> "OpenEngine":
        return open_engine(model, engine, scale, depth, threads, device, precision, compiled, float_precision)

    with files_for_streams(sources, output, chosen.suffix) as (given, written):
        inputs = find_inputs(given)
        check_one(inputs, output)
        if inputs.several:
            planned = plan_of(inputs, written, chosen)
            report = upscale_several(opened(), planned, Path(written), chosen)
        else:
            job = one_job(inputs.paths[0], written, chosen)
            upscale_one(opened(), job, chosen)
    if inputs.several:
        show_report(report, json, start)
    else:
        show_picture(job, output, json, start)


def open_engine(
    model: Path,
    engine: str,
    scale: int | None,
    depth: int | None,
    threads: int | None,
    device: str,
    precision: str,
    compiled: bool,
    float_precision: str,
) -> "OpenEngine":
    """The engine that the options name, for a model of any kind; says which it is, and whether its tiles are exact."""
    from srquant.deploy.file.open_model import open_network
    from srquant.models.checkpoint import is_exported

    running: OpenEngine
    if is_exported(model):
        running = open_for_command(model, engine, threads, scale, depth, device, precision, compiled, float_precision)
    else:
        place = find_place(device, engine, precision, compiled, float_precision)
        running = place.open_engine(open_network(model, scale, depth), threads)
    note(f"engine {running.name}")
    if not running.tiling.exact:
        note(running.tiling.describe())
    return running
