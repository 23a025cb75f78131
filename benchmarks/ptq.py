"""Post-training quantization: every method x bits x network x benchmark set, compared with the papers.

    python benchmarks/ptq.py -o RUNS                            all runs, then the tables in the same folder
    python benchmarks/ptq.py -o RUNS --network edsr_r8f64_x2 --bits 4 --method 'gba*' --jobs 2
    python benchmarks/ptq.py -o RUNS --assemble docs/results    only the tables, from the finished runs
    python benchmarks/ptq.py -o RUNS --restore docs/results     only the files of the runs that made those tables

Each run is a separate process with one thread, so that memory and time are measured separately, and writes one JSON
file below the output folder. Finished runs are not repeated; ``--stale`` repeats those that were made by another
version of the code. ``--device`` says where methods run; the integer networks are measured on the CPU.
``--quantize-only`` leaves measuring to the same command without it, maybe on another machine: a machine with a GPU
needs no OpenVINO. Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ptq_origin import code_version
from ptq_rows import runs
from ptq_run import Kept, Run, shared
from ptq_runs import restore
from ptq_store import Store
from ptq_tables import assemble

from srquant.cli.bars import progress
from srquant.errors import InputError

WORKER = Path(__file__).with_name("ptq_run.py")


def wanted(arguments: argparse.Namespace) -> list[Run]:
    """The runs that match the command line's filters, with the settings that it overrides.

    Raises:
        InputError: no run matches.
    """
    overrides = {name: value for name, value in overridden(arguments).items() if value is not None}
    left = [
        replace(run, **overrides)
        for run in runs()
        if matches(run.network, arguments.network)
        and matches(run.label, arguments.row)
        and matches(run.method, arguments.method)
        and (not arguments.bits or run.bits in arguments.bits)
        and (not arguments.seed or run.seed in arguments.seed)
    ]
    if not left:
        raise InputError(f"no run is left; networks and rows are:\n{listing()}")
    return left


def overridden(arguments: argparse.Namespace) -> dict[str, Any]:
    """Settings that the command line sets for all runs; None for the others."""
    sets = tuple(f"data/{name}" for name in arguments.sets.split(",")) if arguments.sets else None
    return {"count": arguments.count, "patch": arguments.patch, "sets": sets}


def matches(name: str, patterns: list[str]) -> bool:
    """Whether a name matches one of the patterns; without patterns every name matches."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def listing() -> str:
    """Networks and labels."""
    everything = list(runs())
    names = (dict.fromkeys(run.network for run in everything), dict.fromkeys(run.label for run in everything))
    return "\n".join(", ".join(part) for part in names)


def described(run: Run) -> str:
    """A run in words."""
    return f"{run.network} {run.label} {run.bits} bit, seed {run.seed}"


def unfinished(chosen: list[Run], store: Store, *, stale: bool) -> list[Run]:
    """Runs without a result; with ``stale`` also those whose result was made by another version of the code."""
    if not stale:
        return [run for run in chosen if not store.has(run)]
    current = code_version()
    return [run for run in chosen if store.code(run) != current]


def execute(run: Run, store: Store, how: list[str]) -> str | None:
    """Run in a separate process; gives the last line of its errors if it failed, else None."""
    command = [sys.executable, str(WORKER), json.dumps(asdict(run)), str(store.path(run)), *how]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SRQUANT_SHARED": str(shared())}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode == 0:
        return None
    return (finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"])[-1]


def run_all(todo: list[Run], store: Store, jobs: int, how: list[str]) -> list[str]:
    """Run what is not finished, ``jobs`` at once, with the worker's options; a line for each run that failed."""
    failures = []
    with progress() as step, ThreadPoolExecutor(jobs) as pool:
        step("runs", 0, len(todo))
        started = {pool.submit(execute, run, store, how): run for run in todo}
        for done, future in enumerate(as_completed(started), 1):
            run, complaint = started[future], future.result()
            step("runs", done, len(todo))
            outcome = "done" if complaint is None else complaint
            line = f"{described(run)}: {outcome}"
            print(time.strftime("%H:%M:%S"), line, flush=True)
            failures += [] if complaint is None else [line]
    return failures


def main() -> int:
    """Make the runs, then write the tables; with ``--assemble`` only write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS", help="folder of finished runs")
    parser.add_argument("--network", action="append", default=[], help="name or pattern; repeatable")
    parser.add_argument("--method", action="append", default=[], help="name or pattern; repeatable")
    parser.add_argument("--row", action="append", default=[], help="label or pattern; repeatable")
    parser.add_argument("--bits", type=int, action="append", default=[])
    parser.add_argument("--seed", type=int, action="append", default=[])
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at the same time")
    parser.add_argument("--device", default="cpu", help="where methods run: cpu, cuda or cuda:N")
    parser.add_argument("--quantize-only", action="store_true", help="quantize, and measure another time")
    parser.add_argument("--count", type=int, help="number of calibration pictures for all rows")
    parser.add_argument("--patch", type=int, help="side of the calibration crops for all rows")
    parser.add_argument("--sets", metavar="NAME,NAME", help="benchmark sets for all rows")
    parser.add_argument("--assemble", type=Path, metavar="DIR", help="only write the tables of finished runs")
    parser.add_argument("--restore", type=Path, metavar="DIR", help="only write the files of runs from ptq_runs.json")
    parser.add_argument("--stale", action="store_true", help="repeat runs made by another version of the code")
    parser.add_argument("--list", action="store_true", help="print the runs and stop")
    arguments = parser.parse_args()
    try:
        chosen = wanted(arguments)
        if arguments.list:
            print("\n".join(map(described, chosen)))
            return 0
        store = Store(arguments.output, shared(), overridden(arguments))
        if arguments.restore:
            left = restore(chosen, store, arguments.restore)
            print("\n".join([f"not in {arguments.restore} with these settings: {len(left)}", *map(described, left)]))
            return 0
        if arguments.assemble:
            assemble(chosen, store, arguments.assemble)
            return 0
        how = ["--device", arguments.device, *(["--quantize-only"] if arguments.quantize_only else [])]
        todo = unfinished(chosen, store, stale=arguments.stale)
        for run in todo if arguments.stale else ():
            Kept(store.path(run)).remove()
        failures = run_all(todo, store, arguments.jobs, how)
        if any(store.has(run) for run in chosen):
            assemble(chosen, store, arguments.output)
    except InputError as error:
        print(f"ptq: {error}", file=sys.stderr)
        return 2
    print("\n".join(failures))
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
