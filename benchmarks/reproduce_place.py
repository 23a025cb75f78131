"""The folder where the runs of the papers' tables are, and how they are restored from the committed results."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import ptq_runs
import qat
from ptq_run import Run, shared, write
from ptq_store import Store

RUNS = "reproduce_runs.json"
"""All runs that only the papers' tables have, beside the tables."""

TABLES = ("classification", "qat_patches")
"""Tables of other benchmarks from which rows are taken."""


@dataclass(frozen=True)
class Place:
    """A folder of runs; those of ``ptq.py -o`` may be in it.

    Attributes:
        folder: created if it is missing.
        device: where post-training methods run.
    """

    folder: Path
    device: str = "cpu"

    @cached_property
    def store(self) -> Store:
        """Runs of post-training quantization."""
        return Store(self.folder, shared(), {})

    @property
    def trained(self) -> Path:
        """Runs of ``qat.py``."""
        return self.folder / "qat"

    def table(self, name: str) -> Path:
        """The JSON file of another benchmark's table."""
        return self.folder / f"{name}.json"


def restore(runs: Iterable[Run], place: Place, results: Path) -> None:
    """Write the files of the runs, and the tables of other benchmarks, that ``results`` has and the folder lacks.

    Raises:
        InputError: ``results`` has no runs, or they were made with other pictures or weights.
    """
    everything = list(runs)
    ptq_runs.restore(everything, place.store, results)
    if (results / RUNS).exists():
        ptq_runs.restore(everything, place.store, results, RUNS)
    for run in json.loads((results / "qat.json").read_text())["runs"]:
        path = qat.result_path(place.trained, run["label"], run["bits"])
        if not path.exists():
            write(run, path)
    for name in TABLES:
        if not place.table(name).exists():
            shutil.copy(results / f"{name}.json", place.table(name))
