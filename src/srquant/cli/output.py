"""Output of the subcommands: results on stdout, progress and errors on stderr, JSON if asked for."""

import json
import os
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import typer
from rich.table import Table

from srquant.cli.plain_text import Plain, one_line, plain
from srquant.cli.stdout import STREAM, Printer, named, put
from srquant.errors import OutputError
from srquant.files import write_output

WIDE = 200
"""Width in characters if stdout is a file or pipe."""


def bits_text(bits: int | None) -> str:
    """Bits of a layer in a table."""
    from srquant.grids.uniform import FLOAT_BITS

    return "-" if bits is None else "float" if bits == FLOAT_BITS else str(bits)


def fail(message: str, code: int) -> NoReturn:
    """Print one line on stderr and exit."""
    typer.echo(f"srquant: {one_line(message)}", err=True)
    raise typer.Exit(code)


def note(message: str) -> None:
    """Print a message that is not a result, on stderr."""
    typer.echo(plain(message), err=True)


def show(*results: Table | str, json_to: str | None = None) -> None:
    """Print results, unless JSON is written to stdout; control characters in names from files are shown as escapes."""
    if json_to == STREAM:
        return
    console = Printer(highlight=False, soft_wrap=True, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    with named():
        for result in results:
            console.print(Plain(result), markup=False)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table: the first column left-aligned, the others right-aligned."""
    made = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", no_wrap=True)
    return made


def write_json(value: object, to: str | None) -> None:
    """Write JSON to a file or to stdout (``-``); do nothing for None.

    Raises:
        OutputError: the file can't be written.
    """
    if to is None:
        return
    text = json.dumps(value, indent=2, allow_nan=False)
    if to == STREAM:
        put(text + "\n")
    else:
        _write(text + "\n", Path(to))


def spent(start: float) -> dict[str, float]:
    """What a command took, for JSON: seconds since ``start`` of ``time.perf_counter``, and peak memory."""
    from srquant.devices import CPU
    from srquant.measure.speed.worker import peak_memory

    seconds = round(time.perf_counter() - start, 3)
    return {"seconds": seconds, "peak_rss_mb": round(peak_memory(CPU.type) / 1e6, 1)}


def check_output(path: Path, overwrite: bool) -> None:
    """Check, before any long work, that a file can be written.

    Raises:
        OutputError: it exists and ``overwrite`` is False, is a folder, its name is too long, or its folder can't be
            written to.
    """
    check_name(path)
    if path.is_dir():
        raise OutputError(f"{path} is a folder: name the file to write")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists: use --overwrite to replace it, or write to another name")
    check_folder(path)


def check_name(path: Path) -> None:
    """Raise an ``OutputError`` if the system can't look for a file of this name: it is too long, or has a zero byte."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f"can't write {path}: {reason}; choose another name") from error


def check_json(to: str | None) -> None:
    """Check, before any long work, that JSON can be written to a file; an existing file will be replaced.

    Raises:
        OutputError: its folder can't be written to.
    """
    if to not in (None, STREAM):
        check_output(Path(str(to)), overwrite=True)


def check_folder(path: Path) -> None:
    """Raise an ``OutputError`` unless files can be created in the folder of ``path``, or it can be made."""
    folder = path.absolute().parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror} ({there}); choose another folder") from error


def make_folder(path: Path) -> None:
    """Create the folder of ``path`` if it is missing.

    Raises:
        OutputError: it can't be created.
    """
    folder = path.absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"can't create {folder}: {error.strerror}; choose another folder") from error


def _write(text: str, path: Path) -> None:
    make_folder(path)
    write_output(path, text.encode())
