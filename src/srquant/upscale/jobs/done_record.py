"""Which pictures of a folder are done: a file of one JSON line per picture, kept in the output folder.

A line is appended just before its picture gets its final name. A run that is killed in between leaves a line without
its picture, one that is killed while it writes the line leaves half a line: both mean that the picture isn't done.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from srquant.models.network import Network

FILE_NAME = ".srquant-done.jsonl"


@dataclass(frozen=True)
class Entry:
    """One finished picture.

    Attributes:
        target: its path in the output folder, with ``/``.
        source: SHA-256 of the file that was upscaled.
        network: ``fingerprint`` of the network that did it.
        output: SHA-256 of the file that was written.
    """

    target: str
    source: str
    network: str
    output: str


class Record:
    """The finished pictures of one output folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.entries = {entry.target: entry for entry in read_entries(self.path)}

    def name(self, target: Path) -> str:
        """How a picture in the folder is called here."""
        return target.relative_to(self.folder).as_posix()

    def has(self, target: Path, source: str, network: str) -> bool:
        """Whether ``target`` is what this network made of this source, untouched since."""
        entry = self.entries.get(self.name(target))
        if entry is None or (entry.source, entry.network) != (source, network):
            return False
        return target.is_file() and file_digest(target) == entry.output

    def add(self, target: Path, source: str, network: str, output: str) -> None:
        """Note a picture as done. Starts with a line end, in case the last run was killed inside a line."""
        entry = Entry(self.name(target), source, network, output)
        self.entries[entry.target] = entry
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps(asdict(entry)))


def read_entries(path: Path) -> list[Entry]:
    """The whole lines of a record; none if there is no such file."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return entries


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(network: Network) -> str:
    """SHA-256 of a network's facts and weights, as hexadecimal digits."""
    digest = hashlib.sha256(repr(network.facts).encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
