"""Files that are there completely or not at all, whenever the process or the machine stops.

They are written beside their place under another name, then renamed. What a killed process leaves behind is removed
when the same file is written again (``file_owners``).
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from srquant.errors import OutputError
from srquant.file_owners import LOCK, dead, lock_of, owning

TEMPORARY = re.compile(r"\.srquant-([0-9a-f]{12})-([0-9a-f]{8}(\.[^.]*)?)")
"""Owner, and ``_ending`` of the file that is written."""


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file; errors as ``replacing``, with its name."""
    with named_errors(path), replacing(path) as written:
        written.write_bytes(content)


def write_output(path: Path, content: bytes) -> None:
    """Write a file that the user asked for, completely or not at all.

    Raises:
        OutputError: it can't be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise OutputError(f"can't write {path}: {error.strerror}; choose another place") from error


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

    The file is on the disk before it gets its name, and has the permissions of any new file. Several processes and
    threads may write one ``path`` at a time.

    Args:
        path: the file.
        clean: whether leftovers of dead owners are removed first, which lists the folder; those who write many files
            into one folder call ``remove_stale`` once instead.

    Raises:
        OSError: the folder is missing or can't be written to, the disk is full, or ``path`` is a folder.
    """
    if clean:
        remove_stale(path.parent, path)
    with owning(path.parent) as owner, temporary(path, owner) as written:
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
def temporary(path: Path, owner: str) -> Iterator[Path]:
    """A name beside ``path``, with its suffix, for a file that is gone after the block.

    Paths that differ in their suffix alone get names that do so too, for libraries that write two files.

    Args:
        path: any.
        owner: from ``owning`` its folder.
    """
    name = path.with_name(f".srquant-{owner}-{_ending(path)}")
    try:
        yield name
    finally:
        name.unlink(missing_ok=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of one that is being written, or of its owner's lock."""
    return bool(TEMPORARY.fullmatch(path.name) or LOCK.fullmatch(path.name))


def remove_stale(folder: Path, target: Path | None = None) -> None:
    """Remove from a folder what dead owners left half-written, of one file or of all.

    Files of living owners stay, and so does what may not be removed.
    """
    with suppress(OSError):
        names = [path.name for path in folder.iterdir()]
        written = [match for name in names if (match := TEMPORARY.fullmatch(name))]
        locks = {match[1] for name in names if (match := LOCK.fullmatch(name))}
        wanted = {match[1] for match in written if target is None or match[2] == _ending(target)}
        for owner in wanted | (locks - {match[1] for match in written}):
            _remove_of(folder, owner, [match[0] for match in written if match[1] == owner])


def _remove_of(folder: Path, owner: str, names: list[str]) -> None:
    """Remove the files and the lock of an owner, if it is dead."""
    with dead(folder, owner) as is_dead, suppress(OSError):
        if is_dead:
            for path in (*(folder / name for name in names), lock_of(folder, owner)):
                path.unlink(missing_ok=True)


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
