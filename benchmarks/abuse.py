"""Damaged files, random networks, runs that are stopped or in each other's way: right results, or a clear error.

    python benchmarks/abuse.py --count 1000 -o docs/results/abuse
    python benchmarks/abuse.py --kind picture --count 10000 -o docs/results/abuse
    python benchmarks/abuse.py --kind kill --kind "full disk" --count 140 -o docs/results/abuse

A kind that isn't named keeps its row of an earlier run. The seed of an attempt is its number. A
damaged file takes milliseconds, a random network about two seconds, a disturbed run one to five.
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

TITLE = "Damage, random networks and disturbed runs"

ABOUT = """\
Refused: by an error of srquant, one line. Taken: no error, and the result was right. Failed: everything else. What is
right depends on the kind:

- **Files** with bytes changed, left out, repeated or cut off, and quantized files whose checksum was made to fit their
  damage: a quantized file without a fitting checksum gives the same picture.
- **Random networks** of convolutions, activations, residuals, gates, norms and upsampling, quantized by `mse` at 2 to 8
  bits with random policies: the frozen network gives the picture of the quantized one bit for bit, and OpenVINO and
  ONNX Runtime give it within 1 grey level. Exact steps: no float function stands before a quantizer. Behind one (GELU,
  a product, batch norm, bilinear upsampling) values are on no lattice, and engines compute them with errors in the last
  bits. A value that lies that near to a tie may get the other code, and pixels that see it may differ by more. These
  networks are counted in their own column: moving at most 32 codes, each within 2^-20 of the largest value from a tie,
  to the tie's other side makes the frozen network's picture that of the engine within 1 grey level. All other
  differences are failures.
- **Kill**: `quantize` (also with `distill`), `train`, `upscale`, `export` and `evaluate` end by SIGKILL at a random
  moment, three in ten times while they replace outputs. No file is half-written; the same command then makes the files
  of an undisturbed run, byte for byte but for times, and nothing else is left, in the folder for temporary files too.
- **Full disk**: the same commands under a random limit of the size of files end with one line. The files are as after a
  kill, and without the limit the command makes those of an undisturbed run.
- **Two processes**: a command is started twice. Both end well, or one is refused; the files are those of one run, and
  each picture of a folder was made once.
- **Eight threads** use one engine (PyTorch, OpenVINO, ONNX Runtime) with tiles of several sizes: each gets the picture
  that it gets alone.

Growth: of the benchmark's peak memory while the attempts ran, without that of processes that it started. Other programs
ran meanwhile, so the seconds are too many. Each kind was run with its own `--count`."""

COLUMNS = {
    "kind": "kind",
    "tried": "tried",
    "refused": "refused",
    "taken": "taken",
    "ties": "of them with values on ties",
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
        report.write(
            given.output,
            "Damage, random networks and disturbed runs",
            ABOUT,
            [rows[name] for name in KINDS if name in rows],
            COLUMNS,
        )


if __name__ == "__main__":
    main()
