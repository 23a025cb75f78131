"""What a table of a paper is here: its rows, and what gives our numbers beside each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reproduce_place import Place
from reproduce_sources import Absent, Source


@dataclass(frozen=True)
class Printed:
    """A row of ``paper_numbers.csv``, in the tables that ``Table.csv`` names."""

    model: str
    scale: int
    method: str
    weight_bits: int
    activation_bits: int

    @property
    def label(self) -> str:
        """Network, method and bits."""
        bits = "" if self.weight_bits == 32 else f" W{self.weight_bits}A{self.activation_bits}"
        return f"{self.model} x{self.scale} {self.method}{bits}"


@dataclass(frozen=True)
class Count:
    """Numbers that the paper prints and ``paper_numbers.csv`` doesn't have: costs, times, parameters.

    Attributes:
        label: the paper's row.
        values: by column.
        losses: what they have less than the paper's float network, by column.
    """

    label: str
    values: Mapping[str, float]
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A row of the paper and one of ours beside it."""

    paper: Printed | Count
    ours: Source


@dataclass(frozen=True)
class Table:
    """A table of a paper.

    Attributes:
        paper: as in ``ptq_papers.PAPERS``.
        number: as the command takes it; ``main-4`` is a table of GBA's main text, which is known from notes.
        shows: what the paper shows in it.
        counterpart: our network, pictures and settings, and what they stand in for.
        lines: its rows.
        minutes: of one processor core, for all rows that are possible; an estimate.
        csv: names of the table in ``paper_numbers.csv``; empty where that file doesn't have it.
        gpu: what takes a GPU, or hours without one; empty where nothing does.
    """

    paper: str
    number: str
    shows: str
    counterpart: str
    lines: tuple[Line, ...]
    minutes: int
    csv: tuple[str, ...] = ()
    gpu: str = ""

    @property
    def command(self) -> str:
        """What makes its rows."""
        return f"python benchmarks/reproduce.py {self.paper} {self.number} -o RUNS"

    @property
    def possible(self) -> int:
        """How many of its rows can be measured with what is at hand."""
        return sum(not isinstance(line.ours, Absent) for line in self.lines)

    def finished(self, place: Place) -> int:
        """How many of its rows are measured."""
        return sum(line.ours.finished(place) for line in self.lines)
