"""Pages as files: the models that they compare, and writing them."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srquant.cli.output import check_output, make_folder, show, write_json
from srquant.errors import InputError, OutputError

if TYPE_CHECKING:
    from srquant.report.measured_model import Candidate, MeasuredModel
    from srquant.report.page import Page

PageOutput = Annotated[Path, typer.Option("-o", "--output", show_default=False, help="The .html file to write.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each model is timed; the models take turns.")]


def check_page(path: Path, overwrite: bool) -> None:
    """Raise an ``OutputError`` unless a page can be written to this file."""
    if path.suffix != ".html":
        raise OutputError(f"{path}: a page is one .html file; use -o {path.stem}.html")
    check_output(path, overwrite)


def open_candidates(paths: Sequence[Path]) -> "list[Candidate]":
    """The models in files, with the names of ``labels_of``.

    Raises:
        InputError: they have different scales.
        CheckpointError, QuantizedFileError: as ``open_model``.
    """
    from srquant.deploy.file.open_model import open_model
    from srquant.models.packaged import find_model
    from srquant.report.measured_model import Candidate

    labels = zip(labels_of(paths), paths, strict=True)
    candidates = [Candidate(label, find_model(path), open_model(path)) for label, path in labels]
    scales = {candidate.label: candidate.network.facts.scale for candidate in candidates}
    if len(set(scales.values())) > 1:
        named = ", ".join(f"{name} x{scale}" for name, scale in scales.items())
        raise InputError(f"models of different scales can't be compared: {named}; give models of one scale")
    return candidates


def labels_of(paths: Sequence[Path]) -> list[str]:
    """What files are called: by their name without its suffix; with folder and suffix where several have one name."""
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]


def command_line() -> str:
    """The command that is running, as one types it."""
    return shlex.join(["srquant", *sys.argv[1:]])


def write_page(page: "Page", path: Path, json: str | None) -> None:
    """Write a page, say so, and write its numbers as JSON.

    Raises:
        OutputError: a file can't be written.
    """
    make_folder(path)
    page.write(path)
    show(f"{path}: {path.stat().st_size:,} bytes", json_to=json)
    write_json({"path": str(path), "models": [model_to_json(model) for model in page.models]}, json)


def model_to_json(model: "MeasuredModel") -> dict[str, object]:
    """A row of the page's table and its layers; scripts rely on these keys."""
    return {
        **{name: value for name, value in vars(model).items() if name not in ("scores", "layers")},
        "scores": [score.to_json() for score in model.scores],
        "layers": [vars(layer) for layer in model.layers],
    }
