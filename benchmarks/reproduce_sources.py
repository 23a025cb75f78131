"""What gives our numbers of a row: runs, tables of other benchmarks, counting; or why there are none."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import qat
from ptq import execute
from ptq_networks import EDSR
from ptq_run import Run
from reproduce_place import Place
from reproduce_runs import LARGE, float_run

STANDS_FOR = {LARGE: "Test2K"}

AS_COMMITTED = qat.Scale(400, 4, 24)
"""Steps, crops per step and side of the crops of the runs in ``qat.json``."""


@dataclass(frozen=True)
class Value:
    """A number, and what it has less than the float network; None where nothing is compared with it."""

    value: float
    loss: float | None = None


@dataclass(frozen=True)
class Quantized:
    """Post-training quantization: mean over seeds.

    Attributes:
        runs: one per seed, of the same network.
        base: the float network's run.
        column: ``psnr``, with the loss by set; or ``seconds`` of one processor core.
    """

    runs: tuple[Run, ...]
    base: Run
    column: str = "psnr"

    @property
    def about(self) -> str:
        """Network and row."""
        return f"{self.runs[0].network} {self.runs[0].label}"

    @property
    def needed(self) -> tuple[Run, ...]:
        """The runs, and the one of the float network."""
        return tuple(dict.fromkeys((self.base, *self.runs)))

    def finished(self, place: Place) -> bool:
        """Whether all seeds and the float network are measured."""
        return all(place.store.has(run) for run in self.needed)

    def make(self, place: Place) -> list[str]:
        """Run what is missing."""
        return make(self.needed, place)

    def values(self, place: Place) -> dict[str, Value]:
        """PSNR by set, or the seconds."""
        if not self.finished(place):
            return {}
        return self._seconds(place) if self.column == "seconds" else self._psnr(place)

    def _seconds(self, place: Place) -> dict[str, Value]:
        taken = [result["processor_seconds"] for result in map(place.store.result, self.runs) if result is not None]
        known = [seconds for seconds in taken if seconds is not None]
        return {"seconds": Value(statistics.fmean(known))} if known else {}

    def _psnr(self, place: Place) -> dict[str, Value]:
        scores = [psnr_of(run, place) for run in self.runs]
        exact, quantized = psnr_of(self.base, place), self.runs[0] != self.base
        means = {name: statistics.fmean(one[name] for one in scores if name in one) for name in scores[0]}
        return {
            STANDS_FOR.get(name, name): Value(mean, exact[name] - mean if quantized else None)
            for name, mean in means.items()
        }


@dataclass(frozen=True)
class Trained:
    """Training with quantization, a row of ``qat.py``: EDSR r8f64 x2, 400 steps.

    Attributes:
        label: of the row.
        bits: of weights and activations.
        depth: how many of the 8 blocks run.
        column: ``psnr``, with the loss by set; or ``seconds`` of one processor core.
    """

    label: str
    bits: int
    depth: int = 8
    column: str = "psnr"

    @property
    def about(self) -> str:
        """Network, row and blocks."""
        return f"{EDSR} {self.label}, {self.depth} blocks, 400 steps"

    def path(self, place: Place) -> Path:
        """The file of the run."""
        return qat.result_path(place.trained, self.label, self.bits)

    def finished(self, place: Place) -> bool:
        """Whether the run and the float network are measured."""
        return self.path(place).exists() and place.store.has(float_run(EDSR))

    def make(self, place: Place) -> list[str]:
        """Train, from where an earlier process stopped."""
        failed = make((float_run(EDSR),), place)
        row = next(row for row in qat.ROWS if row.label == self.label)
        try:
            qat.run(row, self.bits, AS_COMMITTED, place.trained)
        except (subprocess.CalledProcessError, RuntimeError) as error:
            return [*failed, f"{self.about} {self.bits} bit: {error}"]
        return failed

    def values(self, place: Place) -> dict[str, Value]:
        """PSNR by set, or the seconds."""
        if not self.finished(place):
            return {}
        result = json.loads(self.path(place).read_text())
        if self.column == "seconds":
            return {"seconds": Value(result["seconds"])}
        exact = psnr_of(float_run(EDSR), place)
        scores = next(after["scores"] for after in result["after"] if after["depth"] == self.depth)
        psnr = {score["dataset"]: score["psnr_y"] for score in scores}
        return {name: Value(value, exact[name] - value) for name, value in psnr.items()}


@dataclass(frozen=True)
class Tabulated:
    """A row of another benchmark's table.

    Attributes:
        file: name of the table.
        row: keys and values by which its row is found.
        column: our name of the number.
        key: the table's name of it.
        loss: the table's name of what is lost, if it has that.
        command: of ``benchmarks/``, with the output appended; empty where it needs files that other commands make.
    """

    file: str
    row: tuple[tuple[str, str], ...]
    column: str
    key: str
    loss: str | None = None
    command: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """Table and row."""
        return f"{self.file}.json, {' '.join(value for _, value in self.row)}"

    def finished(self, place: Place) -> bool:
        """Whether the table is there and has the row."""
        return bool(self.values(place))

    def make(self, place: Place) -> list[str]:
        """Make the table if it is missing."""
        if place.table(self.file).exists():
            return []
        if not self.command:
            return [f"{self.about}: docs/results/{self.file}.md names the commands; put {self.file}.json into RUNS"]
        script = Path(__file__).with_name(self.command[0])
        output = place.table(self.file).with_suffix("")
        done = subprocess.run([sys.executable, str(script), *self.command[1:], "-o", str(output)], check=False)
        return [] if done.returncode == 0 else [f"{self.about}: exit code {done.returncode}"]

    def values(self, place: Place) -> dict[str, Value]:
        """The number of the row."""
        if not place.table(self.file).exists():
            return {}
        rows = json.loads(place.table(self.file).read_text())["rows"]
        found = next((row for row in rows if all(row[key] == value for key, value in self.row)), None)
        if found is None:
            return {}
        return {self.column: Value(found[self.key], found[self.loss] if self.loss else None)}


@dataclass(frozen=True)
class Counted:
    """What follows from the network alone, without a run.

    Attributes:
        about: how it is counted, in words.
        count: gives the numbers by column.
    """

    about: str
    count: Callable[[], dict[str, float]]

    def finished(self, place: Place) -> bool:
        """It is."""
        return True

    def make(self, place: Place) -> list[str]:
        """There is nothing to run."""
        return []

    def values(self, place: Place) -> dict[str, Value]:
        """The numbers."""
        return {name: Value(value) for name, value in self.count().items()}


@dataclass(frozen=True)
class Absent:
    """No counterpart.

    Attributes:
        about: the reason.
    """

    about: str

    def finished(self, place: Place) -> bool:
        """Never."""
        return False

    def make(self, place: Place) -> list[str]:
        """There is nothing to run."""
        return []

    def values(self, place: Place) -> dict[str, Value]:
        """None."""
        return {}


Source = Quantized | Trained | Tabulated | Counted | Absent
"""``about`` says which row of ours it is; ``finished`` whether ``values`` has numbers by column without measuring;
``make`` measures what is missing, and gives a line for each run that failed."""


def make(runs: tuple[Run, ...], place: Place) -> list[str]:
    """Run what is missing, one process after the other; a line for each run that failed."""
    failed = []
    for run in runs:
        if not place.store.has(run):
            complaint = execute(run, place.store, ["--device", place.device])
            failed += [] if complaint is None else [f"{run.network} {run.label} {run.bits} bit: {complaint}"]
    return failed


def psnr_of(run: Run, place: Place) -> dict[str, float]:
    """PSNR by set of a run; empty if it isn't finished."""
    result = place.store.result(run)
    return {} if result is None else {score["set"]: score["psnr_y"] for score in result["scores"]}
