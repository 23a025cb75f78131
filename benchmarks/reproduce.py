"""The tables of the five papers: our counterpart of each by one command, the paper's numbers beside ours.

    python benchmarks/reproduce.py --list                              every table, its command, what is committed
    python benchmarks/reproduce.py --list -o RUNS                      the same for a folder of runs
    python benchmarks/reproduce.py GBA 6 -o RUNS                       run what is missing, then print the table
    python benchmarks/reproduce.py -o RUNS --restore docs/results      only the files of the runs that are committed
    python benchmarks/reproduce.py -o RUNS --assemble docs/results/reproduce

Papers: GBA, QuantSR, 2DQuant, outlier-aware, AdaBM. Without a table all of a paper are run. Each run is a process of
its own with one thread; finished ones are not repeated, stopped ones continue where the method can. RUNS may be the
folder of ``ptq.py``. ``--assemble`` runs nothing and writes one page per paper. Pictures, weights and the papers'
numbers: ``$SRQUANT_SHARED``.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from reproduce_pages import assemble, markdown, path_of, row
from reproduce_papers import chosen, published, quantized_runs
from reproduce_place import Place, restore
from reproduce_sources import Absent
from reproduce_table import Table

from srquant.errors import InputError

COMMITTED = Path(__file__).parents[1] / "docs" / "results" / "reproduce"


def state(table: Table, place: Place | None) -> list[str]:
    """Rows that are finished, what needs a GPU, and why rows can't be done here; a line each."""
    done = committed(table) if place is None else table.finished(place)
    left = f"; all take about {table.minutes} min of one core" if done < table.possible else ""
    reasons = Counter(line.ours.about for line in table.lines if isinstance(line.ours, Absent))
    return [
        f"{done} of {table.possible} rows finished{left}",
        *([f"needs a GPU: {table.gpu}"] if table.gpu else []),
        *(f"not here ({count} of the paper's rows): {reason}" for reason, count in reasons.items()),
    ]


def committed(table: Table) -> int:
    """Finished rows of the table in ``docs/results``."""
    path = path_of(COMMITTED, table.paper).with_suffix(".json")
    if not path.exists():
        return 0
    tables = json.loads(path.read_text())["tables"]
    return sum(found["finished"] for found in tables if found["number"] == table.number)


def listing(tables: tuple[Table, ...], place: Place | None) -> str:
    """What each table shows, its command and its state."""
    parts = ([f"{table.paper} {table.number}: {table.shows}", table.command, *state(table, place)] for table in tables)
    return "\n".join("\n    ".join(lines) for lines in parts)


def run(tables: tuple[Table, ...], place: Place) -> list[str]:
    """Run what is missing, and print each table once its runs are done; a line for each run that failed."""
    papers, failures = published(), []
    for table in tables:
        for line in table.lines:
            failures += line.ours.make(place)
        print(
            f"# {table.paper}\n\n{markdown(table, [row(table, line, papers, place) for line in table.lines])}",
            flush=True,
        )
    return list(dict.fromkeys(failures))


def main() -> int:
    """List, restore, assemble or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paper", nargs="?", metavar="PAPER")
    parser.add_argument("table", nargs="?", metavar="TABLE")
    parser.add_argument("-o", "--output", type=Path, metavar="RUNS", help="folder of finished runs")
    parser.add_argument("--device", default="cpu", help="where post-training methods run: cpu, cuda or cuda:N")
    parser.add_argument("--list", action="store_true", help="print the tables and stop")
    parser.add_argument("--restore", type=Path, metavar="DIR", help="only write the files of committed runs")
    parser.add_argument("--assemble", type=Path, metavar="PATH", help="only write PATH_<paper>.json and .md")
    arguments = parser.parse_args()
    try:
        return carry_out(arguments)
    except InputError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 2


def carry_out(arguments: argparse.Namespace) -> int:
    """What the command line asks for."""
    tables = chosen(arguments.paper, arguments.table)
    place = None if arguments.output is None else Place(arguments.output, arguments.device)
    if arguments.list:
        print(listing(tables, place))
        return 0
    if place is None:
        raise InputError("no folder of runs: give one with -o RUNS, or --list to see the tables")
    if arguments.restore:
        restore(quantized_runs(tables), place, arguments.restore)
        print(listing(tables, place))
    elif arguments.assemble:
        assemble(chosen(arguments.paper, None), published(), place, arguments.assemble)
    else:
        failures = run(tables, place)
        print("\n".join(failures))
        return int(bool(failures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
