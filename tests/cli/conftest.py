"""A tiny network, tiny pictures, and the command line in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
import torch
from typer.testing import CliRunner, Result

from srquant.cli.app import app
from srquant.models.architectures.edsr import EDSR

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def run() -> Run:
    def invoke(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return invoke


@pytest.fixture(scope="session")
def read(run: Run) -> Callable[..., Any]:
    """What a command prints as JSON."""

    def values(*arguments: object) -> Any:
        result = run(*arguments, "--json", "-")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return values


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``edsr.pt`` (x2), ``calibration``, ``Tiny/HR`` and ``picture.png``."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    torch.save(EDSR(1, 8, 2).state_dict(), folder / "edsr.pt")
    for i in range(4):
        write_picture(folder / "calibration" / f"{i}.png", 32, 40, seed=i)
    for i in range(2):
        write_picture(folder / "Tiny" / "HR" / f"{i}.png", 44, 48, seed=10 + i)
    write_picture(folder / "picture.png", 20, 24, seed=20)
    return folder


@pytest.fixture(scope="session")
def quantized(files: Path, run: Run) -> Path:
    """``edsr.pt`` at 4 bit."""
    target = files / "edsr_w4a4.safetensors"
    result = run("quantize", files / "edsr.pt", "--method", "minmax", *options(files), "-o", target)
    assert result.exit_code == 0, result.output
    return target


@pytest.fixture(scope="session")
def calibration(files: Path) -> list[object]:
    return options(files)


def options(files: Path) -> list[object]:
    return ["--calibration", files / "calibration", "--count", 4, "--patch", 24]


def write_picture(path: Path, height: int, width: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pyvips.Image.new_from_array(pixels, interpretation="srgb").gaussblur(1).write_to_file(str(path))


@pytest.fixture(scope="session")
def complaint() -> Callable[[Result], str]:
    """The one line on stderr of a command that refused its input."""

    def only_line(result: Result) -> str:
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("srquant: ")
        return lines[0]

    return only_line


@pytest.fixture(scope="session")
def last_complaint() -> Callable[[Result], str]:
    """The last line on stderr of a command that refused its input after it had shown progress."""

    def last_line(result: Result) -> str:
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        line = result.stderr.strip().splitlines()[-1]
        assert line.startswith("srquant: ")
        return line

    return last_line
