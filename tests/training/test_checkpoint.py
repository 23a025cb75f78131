"""A run that was stopped ends as if it had not been."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from srquant.data.pairs import PairSet
from srquant.errors import CheckpointError, OutputError
from srquant.files import write_whole
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.float_training import FloatTraining, prepare
from srquant.methods.trained_registry import TRAINED
from srquant.models.load import build
from srquant.training.checkpoint import State, load_state, save_fields, save_state, with_present_names
from srquant.training.run_folder import RunFolder
from srquant.training.run_settings import Run
from srquant.training.trainer import Trainer

STEPS = 11


class StoppedError(Exception):
    pass


@pytest.fixture(scope="module")
def pairs(smooth_pictures):
    return PairSet((smooth_pictures(3, 24, 26),), 2, patch=6)


@pytest.fixture
def train(pairs):
    def run(path, stop_after=None, ema=0.9):
        def progress(done, total):
            if done == stop_after:
                raise StoppedError

        torch.manual_seed(1)
        network = build("edsr", {"blocks": 1, "features": 4, "scale": 2})
        student = prepare(network, [], Policy(), FloatTraining(1e-3), STEPS)
        torch.manual_seed(os.getpid())  # what else happened in the process must not matter
        path.mkdir(exist_ok=True)
        run = Run(STEPS, 2, ema=ema, log_every=2, checkpoint_every=3)
        fabric = Fabric(accelerator="cpu", devices=1)
        return Trainer(fabric, student, pairs, run, RunFolder(path), progress=progress).train().state_dict()

    return run


def logged(folder):
    """Rows of the log without times."""
    with RunFolder(folder).metrics.open() as file:
        return [{name: value for name, value in row.items() if "seconds" not in name} for row in csv.DictReader(file)]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_stopped_run_ends_as_one_that_was_not(train, tmp_path, ema):
    whole = train(tmp_path / "whole", ema=ema)
    for stop in (1, 5, 9, 10):
        with pytest.raises(StoppedError):
            train(tmp_path / "stopped", stop, ema)
    stopped = train(tmp_path / "stopped", ema=ema)
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)
    assert logged(tmp_path / "stopped") == logged(tmp_path / "whole")


def test_a_finished_run_gives_its_result_again(train, tmp_path):
    first = train(tmp_path / "run")
    again = train(tmp_path / "run")
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_state_comes_back(tmp_path):
    state = State(7, {"a": torch.rand(3)}, {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": []}, {})
    save_state(state, tmp_path / "checkpoint.pt")
    loaded = load_state(tmp_path / "checkpoint.pt")
    assert (loaded.steps, loaded.optimizer, loaded.averages) == (7, state.optimizer, {})
    assert torch.equal(loaded.student["a"], state.student["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_an_interrupted_write_leaves_the_earlier_state(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    save_state(State(1, {}, {}, {}), path)
    monkeypatch.setattr(Path, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_state(State(2, {}, {}, {}), path)
    assert load_state(path).steps == 1
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["cut", "text", "version"])
def test_a_damaged_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    save_state(State(1, {"a": torch.rand(50)}, {}, {}), path)
    if damage == "version":
        torch.save({"version": 99}, path)
    else:
        write_whole(path, path.read_bytes()[:-100] if damage == "cut" else b"hello")
    with pytest.raises(CheckpointError, match=r"can't continue from .*checkpoint\.pt .*--overwrite"):
        load_state(path)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("steps", "1", "steps is a str"),
        ("student", [1], "student is a list"),
        ("averages", None, "averages is a NoneType"),
    ],
)
def test_fields_of_another_type_are_named(tmp_path, name, value, says):
    path = tmp_path / "checkpoint.pt"
    save_fields({**vars(State(1, {}, {}, {})), name: value}, path)
    with pytest.raises(CheckpointError, match=rf"can't continue from .*checkpoint\.pt \({says}\): use --overwrite"):
        load_state(path)


def test_a_changed_configuration_is_refused_and_shown(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.begin({"steps": "10", "batch": "4", "patch": "48"}, overwrite=False)
    folder.checkpoint.write_text("state")
    folder.tensorboard.mkdir()
    folder.check({"steps": "10", "batch": "4", "patch": "48"})
    with pytest.raises(OutputError, match=r"\(steps: 10 -> 20; patch: 48 -> not set; ema: not set -> 0.9\)"):
        folder.check({"steps": "20", "batch": "4", "ema": "0.9"})
    folder.begin({"steps": "20"}, overwrite=True)
    assert [path.name for path in folder.path.iterdir()] == ["configuration.json"]
    folder.check({"steps": "20"})


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    folder = RunFolder(tmp_path)
    for suffix in (".json", ".pt"):
        (folder.path / f".srquant-000000000000-00000000{suffix}").write_bytes(b"half")
        folder.begin({}, overwrite=False)
    assert [path.name for path in folder.path.iterdir()] == ["configuration.json"]


def test_folders_of_other_things_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="contains files, but no run"):
            RunFolder(tmp_path).begin({}, overwrite)
    with pytest.raises(OutputError, match="is a file"):
        RunFolder(tmp_path / "mine.txt").check({})
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts its processes by fork")
def test_runs_killed_at_random_moments_end_as_one_that_was_not(smooth_pictures, tmp_path):
    network = "edsr:blocks=1,features=4,scale=2"
    options = f"train --method float --init {network} --hr {smooth_pictures(3, 28, 30)} --steps 40 --batch 2 --patch 8"
    options += " --ema 0.9 --log-every 1 --checkpoint-every 3 --device cpu"
    ended = subprocess.run(
        [sys.executable, Path(__file__).with_name("killed_runs.py"), "5", "6", tmp_path, *options.split()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.split()) == 6
    assert "continuing from" in ended.stderr
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert RunFolder(killed).model.read_bytes() == RunFolder(whole).model.read_bytes()
    assert logged(killed) == logged(whole)


def test_names_of_earlier_releases_become_those_of_today():
    state = {"network.head.weight_quantizer.step": torch.ones(()), "network.head.weight": torch.zeros(2)}
    named = with_present_names(state, {"step": "alpha", "weight_quantizer": "x"})
    assert list(named) == ["network.head.weight_quantizer.alpha", "network.head.weight"]
    assert named["network.head.weight_quantizer.alpha"] is state["network.head.weight_quantizer.step"]


@pytest.mark.parametrize("method", ["quantsr", "odm"])
def test_a_checkpoint_with_earlier_names_is_continued(method):
    """Every name of today is reached from an earlier one or was the same."""
    chosen, low = TRAINED[method], torch.rand(2, 3, 12, 12)
    network = build("edsr", {"blocks": 1, "features": 4}).eval()
    student = chosen.prepare(network, [low], Policy(LayerBits(4, 4), None, None), chosen.config(), 2)
    now = student.state_dict()
    back = {today: earlier for earlier, today in student.earlier_names.items()}
    earlier = with_present_names(now, back)
    assert earlier.keys() != now.keys()
    assert with_present_names(earlier, student.earlier_names).keys() == now.keys()
