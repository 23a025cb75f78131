"""What all verbs share."""

import errno
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from srquant.cli.app import EXAMPLES, app
from srquant.deploy.file import open_model as opening
from srquant.errors import EngineError

VERBS = (
    "info",
    "methods",
    "quantize",
    "train",
    "evaluate",
    "export",
    "upscale",
    "report",
    "compare",
    "bench",
    "demo",
)


def test_verbs_are_those_of_the_readme():
    assert tuple(verb.__name__ for verb in EXAMPLES) == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(run, verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: srquant {verb}" in result.stdout


def test_module_and_script_are_the_same_program():
    script = subprocess.run([sys.executable, "-m", "srquant", "--version"], capture_output=True, text=True, check=True)
    assert script.stdout == "srquant 0.1.0\n"


@pytest.mark.parametrize(
    "arguments", [("dance",), ("info",), ("info", "a.pt", "--colour", "red"), ("bench", "a", "--rounds", "0")]
)
def test_wrong_usage_ends_with_2(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (EngineError("no such processor"), 2, "srquant: no such processor\n"),
        (KeyboardInterrupt(), 130, ""),
        (
            OSError(errno.ENOSPC, "No space left on device", "run/metrics.csv"),
            1,
            "srquant: run/metrics.csv: No space left on device; make room, then run the same command again",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a.png"), 1, "srquant: a.png: Permission denied"),
    ],
    ids=["engine", "interrupt", "full", "forbidden"],
)
def test_failures_end_without_traceback(monkeypatch, files, error, code, says):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(opening, "open_model", fail)
    result = CliRunner().invoke(app, ["info", str(files / "edsr.pt")])
    assert (result.exit_code, result.stderr.strip()) == (code, says.strip())


def test_missing_file_is_one_line_in_a_real_process(tmp_path):
    command = [sys.executable, "-m", "srquant", "info", str(tmp_path / "no.pt")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("srquant: ")
    assert "no such file" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["quantize", "-h"], ["help", "quantize"]])
def test_help_as_people_ask_for_it(arguments):
    expected = CliRunner().invoke(app, ["quantize", "--help"])
    found = CliRunner().invoke(app, arguments)
    assert (found.exit_code, found.stdout) == (0, expected.stdout)
    assert "--calibration" in found.stdout


def test_help_of_all_commands():
    assert CliRunner().invoke(app, ["help"]).stdout == CliRunner().invoke(app, ["-h"]).stdout
    assert "quantize" in CliRunner().invoke(app, ["help"]).stdout


def test_help_of_an_unknown_command():
    result = CliRunner().invoke(app, ["help", "quantise"])
    assert result.exit_code == 2
    assert "No such command 'quantise'" in result.stderr
