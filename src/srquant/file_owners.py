"""Who writes a temporary file: an owner, who holds a lock beside it for as long as it lives.

Numbers of processes tell nothing about containers or machines that share a folder: a number is taken in one and free in
the other. The system releases a lock when its process ends, however it ends, and other machines see it too where the
file system has locks. Where it has none, an owner counts as dead after ``LONGEST``.
"""

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = re.compile(r"\.srquant-lock-([0-9a-f]{12})")

LONGEST = 24 * 3600
"""Seconds after which an owner that can't be asked counts as dead."""


def lock_of(folder: Path, owner: str) -> Path:
    """The lock file of an owner."""
    return folder / f".srquant-lock-{owner}"


@contextmanager
def owning(folder: Path) -> Iterator[str]:
    """A new owner of temporary files in a folder, 12 hexadecimal digits; lives until the end of the block.

    Raises:
        OSError: the folder is missing or can't be written to.
    """
    owner = secrets.token_hex(6)
    path = lock_of(folder, owner)
    file = _locked(path)
    try:
        yield owner
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path) -> int:
    """Create and lock a file; one that somebody removes before it is locked is made again."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is not None:
            with suppress(OSError):  # the file system has no locks
                fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(OSError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)


def is_alive(folder: Path, owner: str) -> bool:
    """Whether an owner lives, in whatever process on whatever machine."""
    with dead(folder, owner) as is_dead:
        return not is_dead


@contextmanager
def dead(folder: Path, owner: str) -> Iterator[bool]:
    """Whether an owner is dead; if so its lock is held during the block, and can be removed there."""
    try:
        file = os.open(lock_of(folder, owner), os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    try:
        yield _released(file)
    finally:
        os.close(file)


def _released(file: int) -> bool:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # the file system has no locks
            pass
        else:
            return True
    return time.time() - os.fstat(file).st_mtime > LONGEST
