"""The command that a page shows makes the same file again."""

import shlex

import pytest

from srquant.deploy.file.save_load import load
from srquant.report.command_lines import command_for

CASES = {
    "minmax": ["--method", "minmax"],
    "bits": ["--method", "mse", "-w", 3, "-a", 5, "--head-bits", "float", "--tail-bits", "6/7", "--skip-bits", 8],
    "grids": ["--method", "tails", "--granularity", "channel", "--activation-granularity", "channel"],
    "override": ["--method", "minmax", "--override", "body.0.*=2/4", "--override", "tail.*=float"],
    "options": ["--method", "minmax", "--set", "momentum=0.5", "--set", "batch=2"],
    "rounding": ["--method", "mse", "--set", "rounding=gptq"],
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_makes_the_same_file(run, files, calibration, tmp_path, case):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    given = run("quantize", files / "edsr.pt", *calibration, *CASES[case], "-o", first)
    assert given.exit_code == 0, given.output
    line = command_for(load(first), str(files / "edsr.pt"), str(second))
    program, *arguments = shlex.split(line)
    assert program == "srquant"
    place = arguments.index("LR_PICTURES")
    arguments[place : place + 1] = list(map(str, calibration[1:]))
    again = run(*arguments)
    assert again.exit_code == 0, again.output
    assert second.read_bytes() == first.read_bytes()


def test_only_what_differs_from_the_defaults_is_set(run, files, calibration, tmp_path):
    path = tmp_path / "a.safetensors"
    assert run("quantize", files / "edsr.pt", *calibration, *CASES["options"], "-o", path).exit_code == 0
    line = command_for(load(path), "edsr.pt", "a.safetensors")
    assert line.count("--set") == 2
    assert "--head-bits" not in line
