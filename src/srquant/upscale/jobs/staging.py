"""Files that appear whole or not at all: written beside the target under another name, then renamed."""

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
    """A file name beside ``target`` to write to; the file, if there is one, is gone after the block.

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
    """Remove what killed runs left in a folder; files of runs that are still alive stay."""
    for path in folder.iterdir():
        match = STAGED.fullmatch(path.name)
        if match and not psutil.pid_exists(int(match[1])):
            path.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder that files can be written to, with its parents.

    Raises:
        OutputError: it can't be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} can't be written to: choose another folder or change its permissions")


def unwritable(path: Path, error: OSError | pyvips.Error) -> OutputError:
    """An error met while a file was written."""
    reason = error.strerror if isinstance(error, OSError) else str(error.detail).strip()
    return OutputError(
        f"can't write {path} ({reason}): free some space or choose another place; nothing was left behind"
    )
