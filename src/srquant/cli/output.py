"""Results on stdout, progress and complaints on stderr, JSON where it is wanted."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from srquant.errors import OutputError
from srquant.files import write_whole

STDOUT = "-"
WIDE = 200
"""Columns of a file or pipe."""

Step = Callable[[str, int, int], None]
"""Told a stage's name, the steps done and all its steps."""


def fail(message: str, code: int) -> NoReturn:
    """End with one line on stderr."""
    typer.echo(f"srquant: {message}", err=True)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Say something that is no result."""
    typer.echo(message, err=True)


def show(*results: Table | str, json_to: str | None = None) -> None:
    """Print results, unless stdout belongs to JSON."""
    if json_to == STDOUT:
        return
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WIDE
    for result in results:
        console.print(result, markup=False)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table: the first column left-aligned, the others right-aligned."""
    made = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", no_wrap=True)
    return made


def write_json(value: object, to: str | None) -> None:
    """Write JSON to a file or stdout (``-``); nowhere for None.

    Raises:
        OutputError: the file can't be written.
    """
    if to is None:
        return
    text = json.dumps(value, indent=2, allow_nan=False)
    if to == STDOUT:
        typer.echo(text)
    else:
        _write(text + "\n", Path(to))


def check_output(path: Path, overwrite: bool) -> None:
    """Find out before long work whether a file can be written.

    Raises:
        OutputError: it exists and may not be replaced, is a folder, or its folder can't be written to.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name the file to write")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: use --overwrite to replace it, or write to another name")
    check_folder(path)


def check_json(to: str | None) -> None:
    """Find out before long work whether JSON can be written there; an earlier file is replaced.

    Raises:
        OutputError: its folder can't be written to.
    """
    if to not in (None, STDOUT):
        check_output(Path(str(to)), overwrite=True)


def check_folder(path: Path) -> None:
    """Raise an ``OutputError`` unless files can be made beside ``path``."""
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror} ({path.absolute().parent}); choose another") from error


@contextmanager
def progress() -> Iterator[Step]:
    """A bar per stage on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        stages = {}

        def step(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage)
            bars.update(stages[stage], completed=done, total=total)

        yield step


def _write(text: str, path: Path) -> None:
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror}; choose another place") from error
