"""All tables of the five papers, and the numbers that the papers print."""

import csv
from dataclasses import dataclass
from pathlib import Path

from ptq_papers import FLOAT, PAPERS
from ptq_run import Run, shared
from reproduce_adabm import TABLES as ADABM
from reproduce_gba import TABLES as GBA
from reproduce_outlier_aware import TABLES as OUTLIER_AWARE
from reproduce_quantsr import TABLES as QUANTSR
from reproduce_sources import Quantized, Value
from reproduce_table import Count, Line, Printed, Table
from reproduce_two_d_quant import TABLES as TWO_D_QUANT

from srquant.errors import InputError

TABLES = (*GBA, *QUANTSR, *TWO_D_QUANT, *OUTLIER_AWARE, *ADABM)

Row = tuple[str, str, Printed]
"""Paper, table in ``paper_numbers.csv``, row."""


@dataclass(frozen=True)
class Published:
    """What ``paper_numbers.csv`` has.

    Attributes:
        psnr: by row, then by set.
    """

    psnr: dict[Row, dict[str, float]]

    def values(self, table: Table, line: Line) -> dict[str, Value]:
        """The paper's numbers of a row by column, with what they lose against the paper's float network."""
        if isinstance(line.paper, Count):
            return {name: Value(value, line.paper.losses.get(name)) for name, value in line.paper.values.items()}
        found: dict[str, float] = {}
        for name in table.csv:
            found |= self.psnr.get((table.paper, name, line.paper), {})
        exact = {} if line.paper.method == FLOAT else self.floats(table.paper, line.paper)
        return {name: Value(value, exact[name] - value if name in exact else None) for name, value in found.items()}

    def floats(self, paper: str, row: Printed) -> dict[str, float]:
        """PSNR of the paper's float network of a row, from any of its tables; the first table decides."""
        found: dict[str, float] = {}
        for (other, _, printed), psnr in self.psnr.items():
            if (other, printed.model, printed.scale, printed.method) == (paper, row.model, row.scale, FLOAT):
                found = psnr | found
        return found


def published() -> Published:
    """The numbers of ``$SRQUANT_SHARED/methods/paper_numbers.csv``.

    Raises:
        InputError: the file is missing.
    """
    path = shared() / "methods" / "paper_numbers.csv"
    if not path.exists():
        raise InputError(f"{path} is missing: set SRQUANT_SHARED to the folder that has the papers' numbers")
    return Published(read(path))


def read(path: Path) -> dict[Row, dict[str, float]]:
    """PSNR by row and set."""
    found: dict[Row, dict[str, float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["seed"] in PAPERS and row["psnr"]:
                printed = Printed(
                    row["model"], int(row["scale"]), row["method"], int(row["w_bits"]), int(row["a_bits"])
                )
                found.setdefault((PAPERS[row["seed"]], row["table"], printed), {})[row["dataset"]] = float(row["psnr"])
    return found


def chosen(paper: str | None, number: str | None) -> tuple[Table, ...]:
    """The tables that the command line names; all of a paper, or of all papers, where it doesn't.

    Raises:
        InputError: there is no such paper or table.
    """
    found = [table for table in TABLES if paper is None or table.paper.lower() == paper.lower()]
    if not found:
        raise InputError(f"no paper {paper!r}: use one of {', '.join(PAPERS.values())}")
    left = tuple(table for table in found if number is None or table.number == number)
    if not left:
        raise InputError(f"{paper} has no table {number!r}: use one of {', '.join(table.number for table in found)}")
    return left


def quantized_runs(tables: tuple[Table, ...]) -> list[Run]:
    """All runs of post-training quantization that the tables need."""
    sources = (line.ours for table in tables for line in table.lines)
    return list(dict.fromkeys(run for ours in sources if isinstance(ours, Quantized) for run in ours.needed))
