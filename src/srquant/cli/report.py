"""``srquant report``: several models side by side on benchmark sets, as a page."""

from pathlib import Path
from typing import Annotated

import typer

from srquant.cli.bars import progress
from srquant.cli.engine_place import find_place
from srquant.cli.evaluate import Data, benchmark_sets
from srquant.cli.options import (
    DEFAULT_INPUT,
    DEFAULT_PIXELS,
    Engine,
    InputSize,
    Json,
    Overwrite,
    Threads,
    input_size,
    usable_cores,
)
from srquant.cli.output import check_json
from srquant.cli.page_file import (
    PageOutput,
    Rounds,
    check_page,
    command_line,
    open_candidates,
    write_page,
)

Models = Annotated[
    list[Path],
    typer.Argument(metavar="MODEL...", show_default=False, help="Checkpoints and quantized files, all of one scale."),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        metavar="MODEL",
        show_default=False,
        help="The float network that they were made of: first in the page, and needed for the sensitivity of layers.",
    ),
]


def report(
    models: Models,
    data: Data,
    output: PageOutput,
    reference: Reference = None,
    engine: Engine = "auto",
    size: InputSize = DEFAULT_INPUT,
    rounds: Rounds = 5,
    threads: Threads = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Compare models on benchmark sets in one page: quality, bits, size, time, crops, differences and layers.

    The page is one file that needs no server and no network.
    """
    check_page(output, overwrite)
    check_json(json)

    from srquant.report.build import Work, page_of_sets
    from srquant.report.speed import Setting
    from srquant.upscale.exported.sizes import check_size

    height, width = input_size(size)
    place = find_place("cpu", engine, "auto", False, "f32")
    candidates = open_candidates([*([] if reference is None else [reference]), *models])
    facts = candidates[0].network.facts
    check_size(facts, None, height, width)
    sets = benchmark_sets(data, facts.scale, DEFAULT_PIXELS)
    work = Work(
        f"{', '.join(benchmark.name for benchmark in sets)}: {', '.join(path.stem for path in models)}",
        candidates,
        None if reference is None else candidates[0],
        lambda candidate: place.open_engine(candidate.network, threads),
        Setting(height, width, threads or usable_cores(), rounds),
        command_line(),
    )
    with progress() as step:
        page = page_of_sets(work, sets, step)
    write_page(page, output, json)
