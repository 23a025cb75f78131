"""Folders for temporary files; those of killed processes are removed by the next process that needs one."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from srquant.file_owners import dead, lock_of, owning

NAME = re.compile(r"srquant-([0-9a-f]{12})")
"""With the owner's digits."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder in the system's place for temporary files (``TMPDIR``), gone after the block.

    Only the user may read it. Folders of processes that were killed are removed first.

    Raises:
        OSError: the place can't be written to.
    """
    place = Path(tempfile.gettempdir())
    _remove_stale(place)
    with owning(place) as owner:
        folder = place / f"srquant-{owner}"
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(place: Path) -> None:
    """Remove the folders and locks of dead owners, as far as that is allowed."""
    with suppress(OSError):
        for folder in place.iterdir():
            match = NAME.fullmatch(folder.name)
            if match is not None:
                _remove_of(match[1], folder)


def _remove_of(owner: str, folder: Path) -> None:
    with dead(folder.parent, owner) as is_dead, suppress(OSError):
        if is_dead:
            shutil.rmtree(folder)
            lock_of(folder.parent, owner).unlink(missing_ok=True)
