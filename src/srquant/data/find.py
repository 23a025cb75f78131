"""Find picture files in folders, and say what else is there."""

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from srquant.data.formats.kinds import SUFFIXES, Format, format_of
from srquant.data.formats.readable import is_readable, unreadable_here
from srquant.errors import DatasetError, ImageError

NAMED = 3
"""How many files a message names; it counts the others."""


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is not read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Found:
    """What a folder contains; hidden files and folders are left out without a word.

    Attributes:
        pictures: files that can be read here, sorted by name.
        left_out: everything else.
        closed: folders that could not be listed.
    """

    pictures: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]
    closed: tuple[LeftOut, ...]


def find_pictures(folder: Path, recursive: bool = False) -> Found:
    """Picture files in a folder: by their suffix, or by their content if they have none.

    Args:
        folder: where to search.
        recursive: whether to search its subfolders as well; links to folders are never followed.

    Raises:
        DatasetError: the folder is missing or contains no picture.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: give the folder that contains the pictures")
    walk = Walk(recursive)
    pictures = tuple(sorted(walk.pictures_in(folder)))
    if not pictures:
        raise DatasetError(f"{folder} contains no pictures ({readable_names()}){beside(folder, walk)}")
    return Found(pictures, tuple(walk.left_out), tuple(walk.closed))


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """The pictures of ``find_pictures``; a warning names pictures that can't be read here.

    Returns:
        Paths sorted by name.

    Raises:
        DatasetError: the folder is missing or contains no picture.
    """
    found = find_pictures(folder, recursive)
    missed = [item for item in (*found.left_out, *found.closed) if is_missed(item)]
    if missed:
        logging.getLogger("srquant").warning(f"{folder}: left out {summary(missed)}")
    return list(found.pictures)


class Walk:
    """Goes through a folder and notes what is no picture."""

    def __init__(self, recursive: bool) -> None:
        self.recursive = recursive
        self.left_out: list[LeftOut] = []
        self.closed: list[LeftOut] = []

    def pictures_in(self, folder: Path) -> Iterator[Path]:
        """The pictures of a folder, and of its subfolders."""
        try:
            with os.scandir(folder) as entries:
                shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            self.closed.append(LeftOut(folder, f"can't be listed ({error.strerror}): change its permissions"))
            return
        for entry in shown:
            yield from self.pictures_of(entry)

    def pictures_of(self, entry: os.DirEntry[str]) -> Iterator[Path]:
        """The picture itself, or those of a subfolder."""
        path = Path(entry.path)
        reason = None
        if entry.is_dir():
            if entry.is_symlink():
                reason = "a link to a folder: name that folder itself"
            elif self.recursive:
                yield from self.pictures_in(path)
        else:
            reason = why_not(path)
            if reason is None:
                yield path
        if reason is not None and (self.recursive or not entry.is_dir()):
            self.left_out.append(LeftOut(path, reason))


def why_not(path: Path) -> str | None:
    """Why something in a folder is not read as a picture; None if it is."""
    if not path.is_file():
        return "a broken link" if path.is_symlink() else "no file"
    kind = SUFFIXES.get(path.suffix.lower()) if path.suffix else by_content(path)
    if kind is None:
        return "no picture by its name" if path.suffix else "no picture"
    return None if is_readable(kind) else unreadable_here(kind)


def by_content(path: Path) -> Format | None:
    """The format of a file without a suffix; None if it is no picture."""
    try:
        return format_of(path)
    except ImageError:
        return None


def is_missed(item: LeftOut) -> bool:
    """Whether something left out is, or may hold, a picture."""
    return item.path.suffix.lower() in SUFFIXES or item.path.is_dir()


def summary(items: Iterable[LeftOut]) -> str:
    """Names and reasons of the first files, and the number of the others, in one line."""
    named = [f"{item.path.name} ({item.reason})" for item in items]
    more = len(named) - NAMED
    return ", ".join(named[:NAMED]) + (f" and {more} more" if more > 0 else "")


def readable_names() -> str:
    """The suffixes of pictures that can be read here."""
    return ", ".join(sorted(suffix for suffix, kind in SUFFIXES.items() if is_readable(kind)))


def beside(folder: Path, walk: Walk) -> str:
    """What is there instead of pictures, as the end of an error message."""
    missed = [item for item in (*walk.left_out, *walk.closed) if is_missed(item)]
    if missed:
        return f": left out {summary(missed)}"
    inside = next(iter(sorted(Walk(recursive=True).pictures_in(folder))), None)
    return ": put some there" if inside is None else f": did you mean {inside.parent}?"
