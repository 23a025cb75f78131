"""``srquant compare``: two models on a picture of the user, as a page."""

from pathlib import Path
from typing import Annotated

import typer

from srquant.cli.bars import progress
from srquant.cli.engine_place import find_place
from srquant.cli.options import DEFAULT_INPUT, Engine, InputSize, Json, Overwrite, Threads, input_size, usable_cores
from srquant.cli.output import check_json
from srquant.cli.page_file import (
    PageOutput,
    Rounds,
    check_page,
    command_line,
    open_candidates,
    write_page,
)

First = Annotated[Path, typer.Argument(metavar="A", show_default=False, help="Checkpoint or quantized file.")]
Second = Annotated[Path, typer.Argument(metavar="B", show_default=False, help="Another one of the same scale.")]
Image = Annotated[Path, typer.Argument(metavar="IMAGE", show_default=False, help="A picture that both upscale.")]


def compare(
    first: First,
    second: Second,
    image: Image,
    output: PageOutput,
    engine: Engine = "auto",
    size: InputSize = DEFAULT_INPUT,
    rounds: Rounds = 5,
    threads: Threads = None,
    overwrite: Overwrite = False,
    json: Json = None,
) -> None:
    """Compare two models on your own picture in one page; no larger original is needed.

    PSNR compares B with A. If A is a float network and B was made of it, the page also shows how sensitive layers are.
    """
    check_page(output, overwrite)
    check_json(json)

    from srquant.data.images import image_size
    from srquant.report.build import Work, page_of_pictures
    from srquant.report.speed import Setting
    from srquant.upscale.exported.sizes import check_size

    height, width = input_size(size)
    image_size(image)
    place = find_place("cpu", engine, "auto", False, "f32")
    candidates = open_candidates([first, second])
    check_size(candidates[0].network.facts, None, height, width)
    work = Work(
        f"{image.name}: {candidates[0].label} and {candidates[1].label}",
        candidates,
        candidates[0] if candidates[0].frozen is None else None,
        lambda candidate: place.open_engine(candidate.network, threads),
        Setting(height, width, threads or usable_cores(), rounds),
        command_line(),
    )
    with progress() as step:
        page = page_of_pictures(work, [image], step)
    write_page(page, output, json)
