"""What ``srquant upscale`` reads: pictures, folders, and patterns that no shell has expanded."""

import glob
from dataclasses import dataclass
from pathlib import Path

from srquant.errors import ImageError, InputError


@dataclass(frozen=True)
class Inputs:
    """What is upscaled.

    Attributes:
        paths: existing files and folders, at least one, in the order given; matches of a pattern sorted.
        several: whether the output is a folder: for several paths, for a folder, and for a pattern with one match.
    """

    paths: tuple[Path, ...]
    several: bool


def find_inputs(given: list[str]) -> Inputs:
    """The files and folders of the argument INPUT.

    Raises:
        ImageError: one doesn't exist.
        InputError: a pattern without a match.
    """
    patterns = [text for text in given if is_pattern(text)]
    paths = tuple(path for text in given for path in (matches(text) if text in patterns else [existing(text)]))
    return Inputs(paths, len(paths) > 1 or bool(patterns) or paths[0].is_dir())


def is_pattern(text: str) -> bool:
    """Whether a text is a pattern such as ``shots/*.png``, and no file has it as its name."""
    return glob.has_magic(text) and not Path(text).exists()


def matches(pattern: str) -> list[Path]:
    """The files and folders that a pattern matches, sorted; hidden ones only if it asks for them."""
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if not found:
        raise InputError(f"{pattern} matches no file: check the folder and the pattern")
    return [Path(name) for name in found]


def existing(text: str) -> Path:
    """The path of a text; errors as ``find_inputs``."""
    path = Path(text)
    if not path.exists():
        raise ImageError(f"{path} doesn't exist: check the name")
    return path
