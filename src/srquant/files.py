"""Files that are there completely or not at all, whenever the process or the machine stops.

They are written beside their place under another name, then renamed. What a killed process leaves behind is removed
when the same file is written again.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = re.compile(r"\.srquant-(\d{1,9})-([0-9a-f]{8}(\.[^.]*)?)")
"""Process, and ``_ending`` of the file that it writes."""


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file; errors as ``replacing``, with its name."""
    with named_errors(path), replacing(path) as written:
        written.write_bytes(content)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Give errors of the system the file's name, which those of a full disk lack."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path, clean: bool = True) -> Iterator[Path]:
    """A name to write to; after the block that file becomes ``path``, after an error ``path`` is what it was.

    The file is on the disk before it gets its name, and has the permissions of any new file. Several processes may
    write one ``path`` at a time, but no two threads of one process.

    Args:
        path: the file.
        clean: whether leftovers of dead processes are removed first, which lists the folder; those who write many files
            into one folder call ``remove_stale`` once instead.

    Raises:
        OSError: the folder is missing or can't be written to, the disk is full, or ``path`` is a folder.
    """
    if clean:
        remove_stale(path.parent, path)
    with temporary(path) as written:
        written.touch()
        mode = written.stat().st_mode
        yield written
        if written.stat().st_mode != mode:
            written.chmod(mode)  # safetensors gives its files to their owner alone
        _keep_content(written)
        written.replace(path)
        _keep_names(path.parent)


def replace_together(written: Mapping[Path, Path]) -> None:
    """Give files that belong together their names, so that old and new ones never stand beside each other.

    The old files are removed first: after a stop on the way some are missing, which is noticed, while a mixed set would
    give wrong results.

    Args:
        written: by its name, each file, complete and in the same folder.
    """
    for file in written.values():
        _keep_content(file)
    for path in written:
        path.unlink(missing_ok=True)
    for path, file in written.items():
        file.replace(path)
    for folder in {path.parent for path in written}:
        _keep_names(folder)


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """A name beside ``path``, with its suffix, for a file that is gone after the block.

    Paths that differ in their suffix alone get names that do so too, for libraries that write two files.
    """
    name = path.with_name(f".srquant-{os.getpid()}-{_ending(path)}")
    name.unlink(missing_ok=True)  # of a dead process that had this one's number
    try:
        yield name
    finally:
        name.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of one that is being written."""
    return TEMPORARY.fullmatch(path.name) is not None


def remove_stale(folder: Path, target: Path | None = None) -> None:
    """Remove from a folder what dead processes of this machine left half-written, of one file or of all.

    Files of living processes stay, and so does what may not be removed.
    """
    import psutil

    with suppress(OSError):
        for path in folder.iterdir():
            match = TEMPORARY.fullmatch(path.name)
            if match and (target is None or match[2] == _ending(target)) and not psutil.pid_exists(int(match[1])):
                with suppress(OSError):
                    path.unlink()


def _ending(path: Path) -> str:
    """Tells files of a folder apart, however long their names are."""
    return hashlib.sha256(os.fsencode(path.stem)).hexdigest()[:8] + path.suffix


def _keep_content(path: Path) -> None:
    """Write a file's content to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _keep_names(folder: Path) -> None:
    """Write a folder's names to the disk, on systems that can."""
    with suppress(OSError):
        folder_file = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(folder_file)
        finally:
            os.close(folder_file)
