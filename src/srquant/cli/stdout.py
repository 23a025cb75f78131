"""What is printed on stdout, and what is said where it is full or nobody reads it."""

import errno
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import typer
from rich.console import Console

STREAM = "-"
"""What stands for stdin and stdout in the place of a file's name; a file of this name is ``./-``."""

NAME = "stdout"
"""The file name of errors of writing to stdout."""


class Printer(Console):
    """Console of stdout that leaves the error of a closed pipe to ``named``; rich would end without a word."""

    def on_broken_pipe(self) -> None:
        """Raise the error again."""
        raise


def put(text: str) -> None:
    """Print a text; errors as ``named``."""
    with named():
        typer.echo(text, nl=False)


def put_file(path: Path) -> None:
    """Write the content of a file; errors as ``named``."""
    with path.open("rb") as file, named():
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@contextmanager
def named() -> Iterator[None]:
    """Name stdout in the errors of writing to it.

    Raises:
        OSError: nothing can be written; its file name is ``NAME``.
    """
    try:
        yield
    except OSError as error:
        forget()
        error.filename = NAME
        raise


def forget() -> None:
    """Send what is still to be printed nowhere, so that Python doesn't try again at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def problem(error: OSError) -> str:
    """The message for an error of writing to stdout."""
    if error.errno == errno.EPIPE:
        return "stdout was closed before everything was printed"
    return f"can't print to stdout: {error.strerror}; send it to another file, or to a terminal"
