"""Where upscaled pictures are written, and what to say where they can't be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srquant.data.vips import pyvips
from srquant.errors import OutputError
from srquant.file_owners import owning
from srquant.files import replacing, temporary


@contextmanager
def staged(target: Path) -> Iterator[tuple[Path, Path]]:
    """Two names beside ``target``: of the file that takes its place after the block, and of one that is gone then.

    Leftovers of killed runs are not looked for here: a job does that once for its folder.

    Raises:
        OutputError: writing failed, for instance because the disk is full.
    """
    try:
        with (
            replacing(target, clean=False) as path,
            owning(target.parent) as owner,
            temporary(target.with_name(f"{target.name}.rows"), owner) as rows,
        ):
            yield path, rows
    except (OSError, pyvips.Error) as error:
        raise unwritable(target, error) from error


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, and check that files can be written to it.

    Raises:
        OutputError: it can't be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} can't be written to: choose another folder or change its permissions")


def unwritable(path: Path, error: OSError | pyvips.Error) -> OutputError:
    """The error for a file that couldn't be written."""
    reason = error.strerror if isinstance(error, OSError) else str(error.detail).strip()
    return OutputError(
        f"can't write {path} ({reason}): free some space or choose another place; nothing was left behind"
    )
