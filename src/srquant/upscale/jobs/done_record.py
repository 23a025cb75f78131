"""The list of finished pictures of a folder: a file in the output folder with one JSON line per picture.

A line is appended just before its picture is renamed to its final name. If a run is killed between the two, there is a
line without a picture; if it is killed while it writes the line, there is half a line. In both cases the picture counts
as not done.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from srquant.errors import OutputError
from srquant.files import file_digest

FILE_NAME = ".srquant-done.jsonl"


@dataclass(frozen=True)
class Entry:
    """One finished picture.

    Attributes:
        target: its path in the output folder, with ``/``.
        source: SHA-256 of the file that was upscaled.
        network: ``fingerprint`` of the engine that upscaled it, and the quality of the file if one was asked for.
        output: SHA-256 of the file that was written.
    """

    target: str
    source: str
    network: str
    output: str


class Record:
    """The finished pictures of one output folder; other runs may add to the list at the same time.

    Raises:
        OutputError: a line is neither an entry nor the first half of one, which a killed run leaves.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.read, self.lines = 0, 1
        self.entries: dict[str, Entry] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read what was added to the list since it was read; errors as ``Record``."""
        for number, line in self._new_lines():
            if line and not is_half(line):
                entry = entry_of(self.path, number, line)
                self.entries[entry.target] = entry

    def _new_lines(self) -> Iterator[tuple[int, str]]:
        """Numbers and texts of lines; a last line that is cut off is read again next time, when it may be complete."""
        if not self.path.is_file() or self.path.stat().st_size == self.read:
            return
        with self.path.open("rb") as file:
            file.seek(self.read)
            content = file.read()
        *lines, last = content.split(b"\n")
        if is_half(last.decode(errors="replace")):
            self.read += len(content) - len(last)
        else:
            self.read += len(content)
            lines.append(last)
        yield from enumerate((line.decode(errors="replace") for line in lines), self.lines)
        self.lines += content.count(b"\n")

    def name(self, target: Path) -> str:
        """A picture's name in the list: its path relative to the folder."""
        return target.relative_to(self.folder).as_posix()

    def is_done(self, target: Path, source: str, network: str) -> bool:
        """Whether this network made ``target`` from this source, and ``target`` is unchanged since then."""
        entry = self.entries.get(self.name(target))
        if entry is None or (entry.source, entry.network) != (source, network):
            return False
        return target.is_file() and file_digest(target) == entry.output

    def add(self, target: Path, source: str, network: str, output: str) -> None:
        """Append a picture. Starts with a line break, in case the last run was killed while it wrote a line."""
        entry = Entry(self.name(target), source, network, output)
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(asdict(entry)))


def is_half(line: str) -> bool:
    """Whether a line was cut off."""
    return line.startswith("{") and not line.endswith("}")


def entry_of(path: Path, number: int, line: str) -> Entry:
    """The entry of a line; errors as ``Record``."""
    try:
        fields = json.loads(line)
        if not all(isinstance(value, str) for value in fields.values()):
            raise TypeError
        return Entry(**fields)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise OutputError(
            f"{path}, line {number}: not an entry of a finished picture; remove the line and its picture is upscaled "
            "again, or remove the file and all are"
        ) from error
