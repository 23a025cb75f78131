"""The numbers that were to be reached, each beside what was measured."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ptq_results import Entry

EDSR, IMDTN = "edsr_r8f64_x2", "imdtn_x4"
Lookup = Callable[[str, str], float | None]
"""PSNR of a row on a set at 4 bits; None where it isn't measured."""


@dataclass(frozen=True)
class AtLeast:
    """A row reaches a PSNR on each set, with at most so many bits on average."""

    text: str
    network: str
    label: str
    psnr_y: dict[str, float]
    fab: float | None = None


@dataclass(frozen=True)
class Above:
    """Each row is better than the one before, on every one of the sets."""

    text: str
    network: str
    labels: tuple[str, ...]
    sets: tuple[str, ...] = ("Set5", "Set14")


@dataclass(frozen=True)
class Near:
    """A row loses at most so much against the float network."""

    text: str
    network: str
    label: str
    db: float
    benchmark: str = "Set5"


Bar = AtLeast | Above | Near

BARS: tuple[Bar, ...] = (
    AtLeast("MSE without finetuning", EDSR, "mse", {"Set5": 37.1, "Set14": 32.8}),
    AtLeast("MinMax without finetuning", EDSR, "minmax", {"Set5": 35.9}),
    AtLeast("MinMax with finetuning", EDSR, "minmax+FT", {"Set5": 37.0}),
)


@dataclass(frozen=True)
class Line:
    """A bar's answer; ``reached`` is None where something isn't measured yet."""

    bar: str
    measured: str
    reached: bool | None


def answers(found: list[Entry]) -> list[Line]:
    """One line per bar."""
    table = {(e.network, e.label): e for e in found if e.bits == 4 or e.label == "float"}
    return [_answer(bar, table) for bar in BARS]


def write_bars(found: list[Entry], path: Path) -> None:
    """Write the table."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [f"| {line.bar} | {line.measured} | {words[line.reached]} |" for line in answers(found)]
    head = "# Numbers to reach\n\nMeans over seeds, 4 bits, PSNR-Y in dB; written by `benchmarks/ptq.py --assemble`.\n"
    path.write_text("\n".join([head, "| bar | measured | reached |", "| --- | --- | --- |", *rows]) + "\n")


def _answer(bar: Bar, table: dict[tuple[str, str], Entry]) -> Line:
    if isinstance(bar, AtLeast):
        return _at_least(bar, table.get((bar.network, bar.label)))
    if isinstance(bar, Above):
        return _above(bar, table)
    return _near(bar, table)


def _at_least(bar: AtLeast, entry: Entry | None) -> Line:
    limits = [f"{name} >= {db:g}" for name, db in bar.psnr_y.items()]
    limits += [] if bar.fab is None else [f"FAB <= {bar.fab:g}"]
    text = f"{bar.text}: {', '.join(limits)}"
    if entry is None:
        return Line(text, "", None)
    measured = {name: entry.psnr_y(name) for name in bar.psnr_y}
    shown = [f"{name} {_db(db)}" for name, db in measured.items()]
    fabs = [score.fab for score in entry.scores if score.set in bar.psnr_y and score.fab is not None]
    shown += [] if bar.fab is None else [f"FAB {' / '.join(f'{fab:.2f}' for fab in fabs)}"]
    few = bar.fab is None or all(fab <= bar.fab for fab in fabs)
    reached = few and all(db is not None and db >= bar.psnr_y[name] for name, db in measured.items())
    return Line(text, ", ".join(shown), reached)


def _above(bar: Above, table: dict[tuple[str, str], Entry]) -> Line:
    text = f"{bar.text}: {' < '.join(bar.labels)}"
    rows = [table.get((bar.network, label)) for label in bar.labels]
    if any(row is None for row in rows):
        return Line(text, "", None)
    by_set = {name: [row.psnr_y(name) for row in rows if row is not None] for name in bar.sets}
    known = {name: [db for db in values if db is not None] for name, values in by_set.items()}
    rising = all(a < b for values in known.values() for a, b in pairwise(values))
    return Line(text, "; ".join(f"{name} {' < '.join(map(_db, v))}" for name, v in known.items()), rising)


def _near(bar: Near, table: dict[tuple[str, str], Entry]) -> Line:
    text = f"{bar.text}: within {bar.db:g} dB of float on {bar.benchmark}"
    entry = table.get((bar.network, bar.label))
    drop = None if entry is None else next((s.drop for s in entry.scores if s.set == bar.benchmark), None)
    return Line(text, "" if drop is None else f"{drop:.2f} dB", None if drop is None else drop <= bar.db)


def _db(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
