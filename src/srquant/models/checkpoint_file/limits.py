"""How much memory a file of weights may ask for: a multiple of its own size, found before anything is read."""

import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from srquant.errors import CheckpointError
from srquant.models.checkpoint_file.pickle_cost import PickleCost

MOST_TIMES = 8
"""Bytes of weights in float32 for each byte of the file; 4 where a file holds 8-bit floats, 2 for half precision."""

ALWAYS = 2**24
"""Bytes that a file of any size may ask for."""

MOST_OF_STRUCTURE = 2**20
"""Bytes of the pickle that names tensors, in files of any size; each may become a hundred bytes of Python objects."""

LARGEST_HEADER = 2**24
"""Bytes of the JSON with which a safetensors file begins; those of networks have less than a hundredth."""


def most_bytes(path: Path) -> int:
    """Memory in bytes that the content of a file may take."""
    return MOST_TIMES * path.stat().st_size + ALWAYS


def check_archive(path: Path) -> None:
    """Check the sizes that a zip archive declares.

    Raises:
        CheckpointError: its content would take many times the file's size, or a name is there twice.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if len({entry.filename for entry in entries}) < len(entries):
        raise CheckpointError(f"{path}: damaged, as it holds two entries of one name; save the checkpoint again")
    total = sum(entry.file_size for entry in entries)
    if total > most_bytes(path):
        raise too_large(path, f"it would be unpacked to {total:,} bytes")
    _check_structure(path, max((e.file_size for e in entries if e.filename.endswith("/data.pkl")), default=0))


def names_in(file: IO[bytes], path: Path) -> Iterator[str]:
    """What the pickle that begins here names, as ``module name``; nothing is built.

    Args:
        file: open at the pickle's first byte, afterwards behind its last one.
        path: for messages.

    Raises:
        CheckpointError: the pickle is too long for the file, or asks for too much memory.
        ValueError, IndexError, KeyError, TypeError: it is damaged.
    """
    start, cost, most = file.tell(), PickleCost(), most_bytes(path)
    for operation, argument, position in pickletools.genops(file):
        _check_structure(path, (position or 0) - start)
        cost.follow(operation.name, argument)
        if cost.bytes > most:
            raise too_large(path, f"loading it would take more than {most:,} bytes")
        if operation.name in ("GLOBAL", "INST"):
            yield str(argument)


def header_problem(path: Path) -> str | None:
    """Says that the header of a safetensors file is too large to be one of a network; None where it isn't.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if LARGEST_HEADER < length < path.stat().st_size:
        return f"its header has {length:,} bytes, at most {LARGEST_HEADER:,} are read"
    return None


def too_large(path: Path, found: str) -> CheckpointError:
    """The error of a file that asks for more memory than networks of its size need."""
    return CheckpointError(
        f"{path} has {path.stat().st_size:,} bytes, but {found}; no network needs that, so save its state_dict() again"
    )


def _check_structure(path: Path, size: int) -> None:
    if size > MOST_OF_STRUCTURE + path.stat().st_size // 64:
        raise too_large(path, "most of it describes other things than weights")
