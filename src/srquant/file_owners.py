"""Who writes a temporary file: an owner, who holds a lock beside it for as long as it lives.

Numbers of processes tell nothing about containers or machines that share a folder: a number is taken in one and free in
the other. The system releases a lock when its process ends, however it ends, and other machines see it too where the
file system has locks. Where it has none, an owner counts as dead after ``LONGEST``.
"""

import hashlib
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
    with _holding(lock_of(folder, owner), wait=True):
        yield owner


@contextmanager
def claiming(path: Path, wait: bool) -> Iterator[bool]:
    """Whether making a file is up to this process during the block, or another process is making it.

    Where the file system has no locks, it always is.

    Args:
        path: of the file; its folder exists.
        wait: whether to wait until the other process is ready, or has ended.

    Raises:
        OSError: the folder is missing or can't be written to.
    """
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]
    with _holding(lock_of(path.parent, name), wait) as held:
        yield held


@contextmanager
def _holding(path: Path, wait: bool) -> Iterator[bool]:
    """Hold a lock during the block, or tell that another has it."""
    file = _locked(path, wait)
    if file is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _locked(path: Path, wait: bool) -> int | None:
    """Create and lock a file, made again if somebody removes it before it is locked; None if another has it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if _lock(file, wait) is False:
            os.close(file)
            return None
        with suppress(OSError):
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        os.close(file)


def _lock(file: int, wait: bool) -> bool | None:
    """Whether a file is locked now; False if another has the lock, None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


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
    locked = _lock(file, wait=False)
    return time.time() - os.fstat(file).st_mtime > LONGEST if locked is None else locked
