"""What an analysis writes: tables as CSV, other numbers as JSON, figures as PNG."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from srquant.errors import OutputError
from srquant.files import write_whole

Files = Mapping[str, bytes]
"""Contents of files by their names."""

Cell = str | int | float | None

DPI = 100
COLOURS = 64
DIGITS = 6
"""Significant digits of a number in a table."""


def csv_file(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """A table; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_shown(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def json_file(value: object) -> bytes:
    """Numbers as JSON."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def png_file(figure: Figure, colours: int = COLOURS) -> bytes:
    """A figure; the same figure gives the same bytes.

    Args:
        figure: what is drawn.
        colours: how many different ones the file has; figures with photographs need more than charts.
    """
    drawn, content = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    picture = Image.open(drawn).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    picture.save(content, format="png", optimize=True)
    return content.getvalue()


def write_files(files: Files, folder: Path) -> None:
    """Write all files into a folder, which is made if it is missing; each one completely or not at all.

    Raises:
        OutputError: one can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise OutputError(f"can't write {error.filename or folder}: {error.strerror}; choose another place") from error


def _shown(cell: Cell) -> str | int:
    if cell is None:
        return ""
    return f"{cell:.{DIGITS}g}" if isinstance(cell, float) else cell
