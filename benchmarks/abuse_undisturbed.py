"""What verbs write when nothing disturbs them, and how runs that were disturbed are compared with that."""

import csv
import io
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from abuse_verbs import Place, make_inputs, run, start

from srquant.files import is_temporary

LOG, DONE, STATE = "metrics.csv", ".srquant-done.jsonl", "checkpoint.pt"
"""Files that grow or change while a verb works."""


class WrongEnd(Exception):
    """A run did not end as it should, or left other files than it should."""


class Undisturbed:
    """What each verb writes, and how long that takes, when nothing disturbs it.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.inputs = folder, folder / "inputs"
        self.inputs.mkdir()
        make_inputs(self.inputs)
        start(["--version"], folder / "first").end()  # loads libraries
        self.contents: dict[str, dict[str, bytes]] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def place(self, verb: str, filled: bool = False) -> Iterator[Place]:
        """A place for runs of a verb, gone after the block; before the first one the verb runs in peace.

        Args:
            verb: in ``VERBS``.
            filled: whether the outputs are there already.
        """
        if verb not in self.contents:
            self._run_in_peace(verb)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            place = Place(self.inputs, Path(folder) / "place")
            if filled:
                shutil.copytree(self.folder / verb, place.folder)
            yield place

    def check_whole(self, verb: str, place: Place) -> None:
        """Check that every file that isn't a temporary one is as in peace, but for those that change on the way.

        Raises:
            WrongEnd: a file is half-written, or has a name that it shouldn't have.
        """
        for path in files_of(place.folder):
            if path.name == STATE:
                torch.load(path)
            elif path.name not in (LOG, DONE) and not is_temporary(path) and place.temporary not in path.parents:
                name = str(path.relative_to(place.folder))
                if self.contents[verb].get(name) != content(path):
                    raise WrongEnd(f"{verb}: {name} isn't a file that an undisturbed run writes")

    def check_same(self, verb: str, place: Place) -> None:
        """Check that the files are those of a run in peace, and that there are no others.

        Raises:
            WrongEnd: otherwise.
        """
        found, wanted = contents(place.folder), self.contents[verb]
        if found != wanted:
            names = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))
            raise WrongEnd(f"{verb}: differ from those of an undisturbed run: {', '.join(names)}")

    def finish(self, verb: str, place: Place) -> None:
        """Run the verb again, which must make what a run in peace makes; with ``--overwrite`` if it asks for that.

        Raises:
            WrongEnd: otherwise.
        """
        code, printed = run(verb, place)
        if code and "use --overwrite to replace it" in printed:
            code, printed = run(verb, place, "--overwrite")
        if code:
            raise WrongEnd(f"{verb}, run again: exit code {code}: {printed}")
        self.check_same(verb, place)

    def _run_in_peace(self, verb: str) -> None:
        place, started = Place(self.inputs, self.folder / verb), time.perf_counter()
        code, printed = run(verb, place)
        if code:
            raise WrongEnd(f"{verb}: exit code {code}: {printed}")
        self.seconds[verb], self.contents[verb] = time.perf_counter() - started, contents(place.folder)


def files_of(folder: Path) -> list[Path]:
    """All files of a folder and of its subfolders, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by their path in it."""
    return {str(path.relative_to(folder)): content(path) for path in files_of(folder)}


def content(path: Path) -> bytes:
    """What a file holds, without what two runs in peace don't have in common: times, order and half lines."""
    if path.name == LOG:
        return without_times(path.read_text()).encode()
    return finished_pictures(path.read_text()).encode() if path.name == DONE else path.read_bytes()


def without_times(log: str) -> str:
    """A log without its columns of seconds."""
    rows = [dict(row) for row in csv.DictReader(io.StringIO(log))]
    return str([{name: value for name, value in row.items() if "seconds" not in str(name)} for row in rows])


def finished_pictures(lines: str) -> str:
    """The entries of a list of finished pictures, sorted, each once."""
    found = set()
    for line in lines.splitlines():
        with suppress(ValueError):
            json.loads(line)
            found.add(line)
    return "\n".join(sorted(found))


def check_refused(verb: str, code: int, printed: str) -> None:
    """Check that a run was refused in one line.

    Raises:
        WrongEnd: otherwise.
    """
    last = printed.rstrip().rpartition("\n")[2]
    if code not in (1, 2) or not last.startswith("srquant: ") or "Traceback" in printed:
        raise WrongEnd(f"{verb}: exit code {code}: {printed}")
