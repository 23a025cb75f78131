"""``srquant upscale``: upscale a picture or a folder of pictures."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

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
    tile_size,
)
from srquant.cli.output import check_json, fail, note, show, spent, write_json
from srquant.cli.plain_text import plain
from srquant.errors import ImageError, InputError

if TYPE_CHECKING:
    from srquant.upscale.engines.protocol import Engine as OpenEngine
    from srquant.upscale.jobs.folder import FolderReport
    from srquant.upscale.jobs.folder import Progress as FolderProgress
    from srquant.upscale.pictures.reading import Reading
    from srquant.upscale.tiles.spans import TileSize

Source = Annotated[Path, typer.Argument(metavar="INPUT", show_default=False, help="A picture, or a folder of them.")]
Output = Annotated[Path, typer.Option("-o", "--output", show_default=False, help="The picture or folder to write.")]
Tile = Annotated[
    str,
    typer.Option(metavar="auto|N", help="Side of a tile in input pixels; auto: as large as the free memory allows."),
]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="SUFFIX", help="For folders: .png, .jpg, ...; default: the format of each input."),
]
MOST_NAMED = 20
"""Files left out that are named; the others are counted."""

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
    source: Source,
    output: Output,
    engine: Engine = "auto",
    tile: Tile = "auto",
    suffix: Format = None,
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
    """Upscale a picture, or a folder with its subfolders; run it again to continue an interrupted folder."""
    side, read_as, suffix = tile_size(tile), reading(max_pixels, tolerant), format_suffix(suffix)
    check_order(model, source)
    check_json(json)
    start = time.perf_counter()
    if not source.exists():
        raise ImageError(f"{source} doesn't exist: check the name")

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
    if source.is_dir():
        finish(upscale_all(running, source, output, side, suffix, overwrite, read_as), json, start)
    else:
        upscale_one(running, source, output, side, overwrite, read_as)
        show(f"{output}", json_to=json)
        write_json({"written": [str(output)], **spent(start)}, json)


def format_suffix(given: str | None) -> str | None:
    """The value of ``--format`` with its dot: ``jpg`` is ``.jpg``.

    Raises:
        InputError: pictures can't be written in this format.
    """
    from srquant.upscale.pictures.write import SAVERS

    if given is None:
        return None
    suffix = f".{given.lower().lstrip('.')}"
    if suffix not in SAVERS:
        raise InputError(f"--format {given}: can't be written; use {', '.join(SAVERS)}")
    return suffix


def reading(max_pixels: int | None, tolerant: bool) -> "Reading":
    """Limits and tolerance; a limit that is given holds for results and for what is read as a whole.

    Raises:
        InputError: the limit isn't positive.
    """
    from srquant.upscale.pictures.reading import Reading

    if max_pixels is None:
        return Reading(tolerant=tolerant)
    if max_pixels < 1:
        raise InputError(f"--max-pixels {max_pixels}: give the most pixels of a result, e.g. 1000000000")
    return Reading(max_pixels, max_pixels, tolerant)


def bars() -> Progress:
    """A progress bar with rate and remaining time, on stderr."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    rate = TextColumn("{task.fields[rate]:.2f} Mpixel/s")
    return Progress(*columns, rate, TimeRemainingColumn(), console=Console(stderr=True))


def upscale_one(
    engine: "OpenEngine", source: Path, output: Path, tile: "TileSize", overwrite: bool, read_as: "Reading"
) -> None:
    """Upscale one picture, with a progress bar that counts its rows."""
    from srquant.data.images import image_size
    from srquant.upscale.jobs.one_picture import upscale_file

    width = image_size(source)[1]
    start = time.monotonic()
    with bars() as shown:
        bar = shown.add_task(plain(source.name), rate=0.0)

        def rows_done(done: int, total: int) -> None:
            rate = done * width / 1e6 / (time.monotonic() - start)
            shown.update(bar, completed=done, total=total, rate=rate)

        upscale_file(engine, source, output, overwrite, tile, rows_done, read_as)
    note(f"{time.monotonic() - start:.1f} s")


def upscale_all(
    engine: "OpenEngine",
    source: Path,
    output: Path,
    tile: "TileSize",
    suffix: str | None,
    overwrite: bool,
    read_as: "Reading",
) -> "FolderReport":
    """Upscale a folder, with one progress bar for all pictures."""
    from srquant.upscale.jobs.folder import upscale_folder

    start = time.monotonic()
    with bars() as shown:
        bar = shown.add_task("", rate=0.0)

        def show_progress(state: "FolderProgress") -> None:
            rate = state.pixels / 1e6 / (time.monotonic() - start)
            done = state.position + state.fraction
            shown.update(bar, description=plain(state.source.name), completed=done, total=state.count, rate=rate)

        report = upscale_folder(engine, source, output, overwrite, True, tile, suffix, show_progress, read_as)
        shown.update(bar, description=plain(output.name), completed=1, total=1)
    return report


def finish(report: "FolderReport", json: str | None, start: float) -> None:
    """Print how many pictures were written, skipped, failed and left out; exit with code 1 if one failed."""
    write_json(
        {
            "written": [str(path) for path in report.written],
            "already_done": [str(path) for path in report.skipped],
            "failed": {str(failure.source): str(failure.error) for failure in report.failures},
            "left_out": {str(item.path): item.reason for item in report.left_out},
            **spent(start),
        },
        json,
    )
    counts = f"{len(report.written)} written, {len(report.skipped)} already done, {len(report.failures)} failed"
    show(counts + (f", {len(report.left_out)} left out" if report.left_out else ""), json_to=json)
    note_left_out(report)
    for failure in report.failures:
        note(str(failure.error))
    if report.failures:
        fail(f"{len(report.failures)} {'picture' if len(report.failures) == 1 else 'pictures'} failed", 1)


def note_left_out(report: "FolderReport") -> None:
    """Name the first files that were left out, and say how many more there are."""
    for item in report.left_out[:MOST_NAMED]:
        note(f"left out {item.path}: {item.reason}")
    if len(report.left_out) > MOST_NAMED:
        note(f"and {len(report.left_out) - MOST_NAMED} more left out")
