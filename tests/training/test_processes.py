"""Two processes train as one with the doubled batch, and none is left alone."""

import csv
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed
from typer.testing import CliRunner

from srquant.cli.app import app
from srquant.errors import InputError, TrainingError
from srquant.training.processes import Processes, connection_errors
from srquant.training.run_folder import RunFolder

PATIENCE = 120
"""Seconds that a busy machine may take for what needs a few."""


@pytest.fixture
def command(smooth_pictures):
    pictures = smooth_pictures(3, 28, 30)

    def make(path, **options):
        network = "edsr:blocks=1,features=4,scale=2"
        options = {"steps": 12, "patch": 8, "log-every": 3, "device": "cpu", "ema": 0.9} | options
        text = f"train --method float --init {network} --hr {pictures} --set learning_rate=0.001 -o {path}"
        return text.split() + [str(part) for name, value in options.items() for part in (f"--{name}", value)]

    return make


@pytest.fixture
def start():
    """Starts srquant in a process of its own, which is killed with its children at the end."""
    started = []

    def run(arguments):
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "srquant", *arguments],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def losses(path):
    with RunFolder(path).metrics.open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_two_processes_train_as_one_with_the_doubled_batch(command, start, tmp_path):
    two = start(command(tmp_path / "two", batch=2, devices=2))
    for name, batch in (("one", 4), ("half", 2)):
        result = CliRunner().invoke(app, command(tmp_path / name, batch=batch))
        assert result.exit_code == 0, result.output
    _, errors = two.communicate(timeout=2 * PATIENCE)
    assert two.returncode == 0, errors
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert losses(tmp_path / "half") != pytest.approx(losses(tmp_path / "one"), rel=1e-3)
    ours, expected, other = (load_file(RunFolder(tmp_path / name).model) for name in ("two", "one", "half"))
    for name, value in expected.items():
        # Adam's steps are 1e-3 each: a hundredth of one is rounding that it has enlarged.
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-5)
    assert max(float((other[name] - value).abs().max()) for name, value in expected.items()) > 1e-4


def begun(process, path):
    """The second process of a training that has done its first steps."""
    until = time.monotonic() + PATIENCE
    while not RunFolder(path).metrics.exists() or len(losses(path)) < 2:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)
    (child,) = psutil.Process(process.pid).children()
    return child


def test_a_lost_worker_ends_the_run_with_an_error(command, start, tmp_path):
    process = start(command(tmp_path / "run", devices=2, batch=1, steps=10**6))
    child = begun(process, tmp_path / "run")
    child.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("srquant: ")
    assert f"process 1 ({child.pid}) was killed by SIGKILL" in last or "lost another process" in last
    assert "give the same command to continue" in last
    assert not RunFolder(tmp_path / "run").model.exists()


def test_workers_end_with_the_process_that_started_them(command, start, tmp_path):
    process = start(command(tmp_path / "run", devices=2, batch=1, steps=10**6))
    child = begun(process, tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    child.wait(PATIENCE)


@pytest.mark.parametrize(
    "error",
    [RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"), distributed.DistNetworkError("x")],
)
def test_a_broken_connection_says_how_to_continue(error):
    says = r"step 7 lost another process .*continue from run/checkpoint\.pt"
    with pytest.raises(TrainingError, match=says), connection_errors(7, "run/checkpoint.pt"):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes") as caught, connection_errors(7, "run"):
        raise RuntimeError("shapes don't fit")
    assert type(caught.value) is RuntimeError


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"devices": 0}, "--devices 0"),
        ({"nodes": 0}, "--num-nodes 0"),
        ({"accelerator": "gpu"}, "--device gpu: use auto, cpu, cuda, cuda:N or mps"),
        ({"precision": "16"}, "--precision 16: use 32 or bf16"),
        ({"accelerator": "cuda:0", "devices": 99}, "cuda:0"),
    ],
)
def test_values_out_of_range(values, says):
    with pytest.raises(InputError, match=says):
        Processes(**values)
