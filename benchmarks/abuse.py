"""Damaged files by the thousand: srquant refuses them in one line or uses them, and never fails in another way.

    python benchmarks/abuse.py --count 1000 -o docs/results/abuse
    python benchmarks/abuse.py --kind picture --count 10000 -o docs/results/abuse

A kind that isn't named keeps its row of an earlier run. The seed of an attempt is its number.
"""

import argparse
import json
import random
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import report
from abuse_kinds import KINDS, prepared

from srquant.measure.speed.worker import peak_memory

MOST_NAMED = 5
"""Failures that a row names."""

ABOUT = """\
Files with bytes changed, left out, repeated or cut off, and quantized files whose checksum was made to fit their
damage. Refused: by an error of srquant, one line. Taken: the file was used; a quantized file without a fitting checksum
must give the same picture. Failed: any other error, or another picture. Growth: of the process's peak memory while the
attempts ran. Other programs ran meanwhile, so the seconds are too many. Each kind was run with its own `--count`."""

COLUMNS = {
    "kind": "kind",
    "tried": "tried",
    "refused": "refused",
    "taken": "taken",
    "ties": "of them with ties",
    "failed": "failed",
    "growth_mb": "growth, MB",
    "seconds": "seconds",
}


@dataclass(frozen=True)
class Row:
    """What came of one kind.

    Attributes:
        kind: in ``KINDS``.
        tried: number of attempts.
        refused: by an error of srquant.
        taken: without an error; the result was right.
        ties: of those taken, pictures that differ by more than a grey level where values lie on ties.
        failed: everything else.
        growth_mb: of peak memory, 10^6 bytes.
        seconds: of all attempts.
        failures: number of the attempt and its error, of the first ones.
    """

    kind: str
    tried: int
    refused: int
    taken: int
    ties: int
    failed: int
    growth_mb: float
    seconds: float
    failures: tuple[str, ...]


def measure(kind: str, count: int) -> Row:
    """Make all attempts of a kind."""
    outcomes, failures = Counter[str](), list[str]()
    with prepared(kind) as attempt, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(Exception):
            attempt(random.Random(-1))  # loads libraries
        start, before = time.perf_counter(), peak_memory("cpu")
        for number in range(count):
            try:
                outcomes[attempt(random.Random(number))] += 1
            except Exception as error:  # a failure is a result
                failures.append(f"{number}: {type(error).__name__}: {error}"[:200])
        growth = (peak_memory("cpu") - before) / 1e6
    seconds, refused = time.perf_counter() - start, outcomes["refused"]
    taken = count - refused - len(failures)
    named = tuple(failures[:MOST_NAMED])
    return Row(kind, count, refused, taken, outcomes["tie"], len(failures), growth, seconds, named)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    stored = given.output.with_suffix(".json")
    rows = {row["kind"]: row for row in json.loads(stored.read_text())["rows"]} if stored.exists() else {}
    for kind in given.kind or KINDS:
        rows[kind] = vars(measure(kind, given.count))
        print(rows[kind], flush=True)
        report.write(given.output, "Damaged files", ABOUT, [rows[name] for name in KINDS if name in rows], COLUMNS)


if __name__ == "__main__":
    main()
