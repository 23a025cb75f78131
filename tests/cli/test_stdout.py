"""A stdout that is full, closed, or read by nobody: one line and exit code 1."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
NO_ROOM = "srquant: can't print to stdout: No space left on device; send it to another file, or to a terminal\n"
NOBODY = "srquant: stdout was closed before everything was printed\n"

PROGRAM = """
from srquant.cli.app import app, main
from srquant.cli.output import show, table, write_json
app.command("text")(lambda: show("three layers"))
app.command("table")(lambda: show(table("layer", "bits")))
app.command("json")(lambda: write_json({"layers": 3}, "-"))
main()
"""
"""The command line with subcommands that do nothing but print as the others do; they start faster."""


def srquant(stdout, *arguments):
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)


@pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("arguments", ["text", "table", "json", "--version", "--help", "help info"])
def test_full(arguments):
    with FULL.open("w") as full:
        result = srquant(full, *arguments.split())
    assert (result.returncode, result.stderr) == (1, NO_ROOM)


@pytest.mark.parametrize("arguments", ["text", "json"])
def test_nobody_reads(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        result = srquant(nobody, arguments)
    assert (result.returncode, result.stderr) == (1, NOBODY)


def test_closed_from_the_start():
    command = ["sh", "-c", f'exec "{sys.executable}" -m srquant info edsr_small_x2 >&-']
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr == "srquant: stdout is closed: leave it open, or send it to a file or to /dev/null\n"
