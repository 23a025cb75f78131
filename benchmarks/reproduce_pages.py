"""Tables of the papers with our numbers beside theirs: as Markdown, as JSON, and one file of each for a paper."""

import datetime
import json
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ptq_rows import runs
from ptq_runs import collect
from report import machine
from reproduce_papers import TABLES, Published, quantized_runs
from reproduce_place import RUNS, Place
from reproduce_sources import Absent, Quantized, Value
from reproduce_table import Line, Table

DECIMALS = 2

HEAD = """\
Numbers of the paper beside ours. PSNR is Y-PSNR in dB; in brackets what a row has less than the float network, the
paper's or ours. As our networks and pictures are others, compare these losses, not PSNR. Only rows that are measured
and columns that both have are shown; the JSON file has all. [More about these tables](../reproduce.md).
"""


@dataclass(frozen=True)
class Row:
    """A row of a paper and ours.

    Attributes:
        paper: the paper's row.
        ours: our row, or why there is none.
        possible: whether it can be measured with what is at hand.
        finished: whether it is measured.
        settings: of our run, as ``srquant quantize --set`` takes them.
        printed: the paper's numbers by column.
        measured: ours.
    """

    paper: str
    ours: str
    possible: bool
    finished: bool
    settings: tuple[str, ...]
    printed: dict[str, Value]
    measured: dict[str, Value]


def row(table: Table, line: Line, papers: Published, place: Place) -> Row:
    """Everything about a row."""
    ours = line.ours
    settings = ours.runs[0].settings if isinstance(ours, Quantized) else ()
    return Row(
        line.paper.label,
        ours.about,
        not isinstance(ours, Absent),
        ours.finished(place),
        settings,
        papers.values(table, line),
        ours.values(place),
    )


def markdown(table: Table, rows: list[Row]) -> str:
    """A heading, what stands for what, the command, the rows that are measured, and what isn't."""
    lines = [f"## Table {table.number}: {table.shows}\n", f"{table.counterpart.rstrip('.')}.\n", f"`{table.command}`\n"]
    lines += [*_cells([row for row in rows if row.finished]), ""]
    left = len([row for row in rows if row.possible and not row.finished])
    reasons = dict.fromkeys(row.ours for row in rows if not row.possible)
    absent = {reason: [row.paper for row in rows if not row.possible and row.ours == reason] for reason in reasons}
    lines += [f"Rows that aren't measured yet: {left}.\n"] if left else []
    lines += [f"- {', '.join(dict.fromkeys(names))}: {reason}." for reason, names in absent.items()]
    return "\n".join([*lines, *([""] if absent else [])])


def _cells(rows: list[Row]) -> list[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row.measured if name in row.printed))
    if not columns:
        return ["No row is measured yet."]
    heads = [f"{name}, {whose}" for name in columns for whose in ("paper", "ours")]
    lines = ["| paper | ours | " + " | ".join(heads) + " |", "| --- | --- |" + " --: |" * len(heads)]
    for row in rows:
        pairs = [(row.printed.get(name), row.measured.get(name)) for name in columns]
        cells = [text(value) for pair in pairs for value in pair]
        lines.append(f"| {row.paper} | {row.ours} | " + " | ".join(cells) + " |")
    return lines


def text(value: Value | None) -> str:
    """A number, the loss in brackets."""
    if value is None:
        return ""
    loss = "" if value.loss is None else f" ({value.loss:.{DECIMALS}f})"
    return f"{value.value:,.{DECIMALS}f}{loss}"


def assemble(tables: tuple[Table, ...], papers: Published, place: Place, prefix: Path) -> None:
    """Write ``PREFIX_<paper>.json`` and ``.md`` of each paper, and in one file runs that ``ptq.py`` doesn't make."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    for paper, own in groupby(tables, key=lambda table: table.paper):
        _write(paper, list(own), papers, place, path_of(prefix, paper))
    elsewhere = set(runs())
    collect((run for run in quantized_runs(TABLES) if run not in elsewhere), place.store, prefix.parent, RUNS)


def path_of(prefix: Path, paper: str) -> Path:
    """The page of a paper, without suffix."""
    return prefix.with_name(f"{prefix.name}_{paper.lower().replace('-', '_')}")


def _write(paper: str, tables: list[Table], papers: Published, place: Place, path: Path) -> None:
    command = f"python benchmarks/reproduce.py {paper} -o RUNS"
    made = {"command": command, "machine": machine(), "date": datetime.date.today().isoformat()}
    rows = {table.number: [row(table, line, papers, place) for line in table.lines] for table in tables}
    values = [to_json(table, rows[table.number]) for table in tables]
    path.with_suffix(".json").write_text(json.dumps({**made, "tables": values}, indent=1) + "\n")
    parts = [f"# Tables of {paper}\n\n{HEAD}\n`{command}`\n\nTables written on {made['machine']}, {made['date']}\n"]
    parts += [markdown(table, rows[table.number]) for table in tables]
    path.with_suffix(".md").write_text("\n".join(parts).rstrip() + "\n")


def to_json(table: Table, rows: list[Row]) -> dict[str, Any]:
    """All of a table."""
    about = {name: getattr(table, name) for name in ("number", "shows", "counterpart", "command", "minutes", "gpu")}
    state = {"finished": sum(row.finished for row in rows), "possible": table.possible}
    return {**about, **state, "rows": [asdict(row) for row in rows]}
