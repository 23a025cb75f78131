"""``-`` as INPUT and output of ``srquant upscale``: a picture from stdin, and one to stdout."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srquant.cli.stdout import STREAM, put_file
from srquant.cli.upscale_inputs import Inputs
from srquant.cli.upscale_work import is_folder
from srquant.errors import ImageError, InputError, OutputError
from srquant.temporary_folders import temporary_folder


def check_streams(sources: list[str], output: str, json: str | None) -> None:
    """Check that stdin and stdout can be used as the arguments ask for.

    Raises:
        InputError: stdin beside other inputs, into a folder, or from a terminal.
        OutputError: stdout beside JSON, or in a terminal.
    """
    if STREAM in sources:
        check_stdin(sources, output)
    if output == STREAM:
        check_stdout(json)


def check_stdin(sources: list[str], output: str) -> None:
    """The part of ``check_streams`` for ``-`` as INPUT."""
    if len(sources) > 1:
        raise InputError("- (stdin) is one picture: give it alone, without other inputs")
    if is_folder(output):
        raise InputError(f"- (stdin) has no name: name the file to write, such as -o {Path(output) / 'large.png'}")
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("- (stdin) is a terminal or closed: send a picture, as in: ... - -o out.png < in.png")


def check_stdout(json: str | None) -> None:
    """The part of ``check_streams`` for ``-o -``."""
    if json == STREAM:
        raise OutputError("-o - and --json -: both would be written to stdout; give one of them a file name")
    if sys.stdout.isatty():
        raise OutputError("-o - (stdout) is a terminal: send it to a file or a program, as in: ... -o - > out.png")


def check_one(inputs: Inputs, output: str) -> None:
    """Raise an ``OutputError`` where several pictures would go to stdout."""
    if output == STREAM and inputs.several:
        raise OutputError("-o - (stdout) takes one picture: give a folder, such as -o large/")


@contextmanager
def files_for_streams(sources: list[str], output: str, suffix: str | None) -> Iterator[tuple[list[str], str]]:
    """Inputs and output with temporary files in the place of ``-``; after the block the picture goes to stdout.

    Args:
        sources: inputs.
        output: where to write.
        suffix: format of what goes to stdout; None: PNG.

    Raises:
        ImageError: stdin is empty, or, from the block, no picture.
        OSError: stdout is full or closed; its file name is ``stdout.NAME``.
    """
    if STREAM not in (*sources, output):
        yield sources, output
        return
    with temporary_folder() as folder:
        read, written = folder / "stdin", folder / f"stdout{suffix or '.png'}"
        if sources == [STREAM]:
            spool(read)
            sources = [str(read)]
        with called({read: "stdin", written: "stdout"}):
            yield sources, str(written) if output == STREAM else output
        if output == STREAM:
            put_file(written)


def spool(path: Path) -> None:
    """Write what comes from stdin to a file.

    Raises:
        ImageError: nothing comes.
    """
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    if path.stat().st_size == 0:
        raise ImageError("stdin is empty: send a picture, as in: srquant upscale MODEL - -o out.png < in.png")


@contextmanager
def called(names: dict[Path, str]) -> Iterator[None]:
    """Give files other names in errors about pictures."""
    try:
        yield
    except (ImageError, OutputError) as error:
        text = str(error)
        for path, name in names.items():
            text = text.replace(str(path), name)
        raise type(error)(text) from error
