"""Write files completely or not at all: first under a temporary name beside the target, then renamed."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyvips

from srquant.errors import OutputError

STAGED = re.compile(r"\.srquant-(\d+)-[0-9a-f]{8}")


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` to write to; a file left at that path is removed after the block.

    Raises:
        OutputError: writing failed, for instance because the disk is full.
    """
    path = target.with_name(f".srquant-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield path
    except (OSError, pyvips.Error) as error:
        raise unwritable(target, error) from error
    finally:
        path.unlink(missing_ok=True)


def remove_stale(folder: Path) -> None:
    """Remove temporary files that killed runs left in a folder, but not those of processes that are still running."""
    for path in folder.iterdir():
        match = STAGED.fullmatch(path.name)
        if match and not psutil.pid_exists(int(match[1])):
            path.unlink(missing_ok=True)


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
