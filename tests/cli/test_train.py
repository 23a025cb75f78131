import csv
import json
import shutil
import sys

import pytest
import torch

from srquant.deploy.file.save_load import load
from srquant.methods.trained_registry import TRAINED
from srquant.models.architectures.attention.swinir import SwinIR
from srquant.models.load import load_model
from srquant.training import trainer
from srquant.training.checkpoint import load_state, save_state
from srquant.training.run_folder import RunFolder

from .conftest import write_picture

SHORT = ("--steps", 4, "--batch", 2, "--patch", 12, "--device", "cpu")
CANDIDATES = {"cadyq": 8, "cabm": 8}
"""Most bits of activations, of methods whose layers choose."""


class StoppedError(Exception):
    pass


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def train(run, files, folder):
    def invoke(*arguments, method="float", init=files / "edsr.pt", hr=files / "Tiny" / "HR"):
        return run("train", "--method", method, "--init", init, "--hr", hr, "-o", folder.path, *SHORT, *arguments)

    return invoke


def rows(folder):
    with folder.metrics.open() as file:
        return list(csv.DictReader(file))


def test_float_training_ends_with_a_checkpoint_that_can_be_loaded(train, folder, files, run):
    result = train("--validate", files / "Tiny", "--set", "learning_rate=0.001")
    assert result.exit_code == 0, result.output
    trained, before = load_model(folder.model).state_dict(), load_model(files / "edsr.pt").state_dict()
    assert not torch.equal(trained["module.tail.1.weight"], before["module.tail.1.weight"])
    value = json.loads(run("evaluate", folder.model, "--data", files / "Tiny", "--json", "-").stdout)
    assert float(rows(folder)[-1]["psnr"]) == pytest.approx(value["psnr_y"], abs=1e-3)
    assert {path.name for path in folder.path.iterdir()} == {
        "checkpoint.pt",
        "curves.html",
        "configuration.json",
        "metrics.csv",
        "model.safetensors",
    }


@pytest.mark.parametrize("method", [name for name in TRAINED if name != "float"])
def test_every_method_ends_with_a_quantized_file(train, folder, run, files, method):
    result = train("-w", 3, "-a", CANDIDATES.get(method, 4), method=method)
    assert result.exit_code == 0, result.output
    model = load(folder.model)
    assert model.origin.method == method
    assert len(model.origin.calibration) == 64
    layers = {layer["name"]: layer for layer in json.loads(run("info", folder.model, "--json", "-").stdout)["layers"]}
    assert layers["body.0.body.0"]["weight_bits"] == 3
    assert layers["head.0"]["weight_bits"] == layers["tail.1"]["weight_bits"] == 32
    assert run("evaluate", folder.model, "--data", files / "Tiny", "--engine", "torch").exit_code == 0


@pytest.mark.parametrize("method", TRAINED)
def test_every_method_continues_as_if_it_had_not_stopped(train, folder, method, monkeypatch):
    arguments = ["--checkpoint-every", 2, *([] if method == "float" else ["-a", CANDIDATES.get(method, 4)])]

    def stop(state, path):
        save_state(state, path)
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_state", stop)
        assert isinstance(train(*arguments, method=method).exception, StoppedError)
    assert load_state(folder.checkpoint).steps == 2
    assert train(*arguments, method=method).exit_code == 0
    continued = folder.model.read_bytes()
    assert train(*arguments, "--overwrite", method=method).exit_code == 0
    assert continued == folder.model.read_bytes()


def test_from_random_weights(train, folder):
    assert train(init="edsr:blocks=2,features=4,scale=3").exit_code == 0
    assert load_model(folder.model).facts.arguments == {"blocks": 2, "features": 4, "scale": 3, "res_scale": 1.0}


def test_given_low_resolution_pictures(train, files, tmp_path, folder):
    for i in range(2):
        write_picture(tmp_path / "LR" / f"{i}x2.png", 22, 24, seed=i)
    assert train("--lr", tmp_path / "LR").exit_code == 0
    given = json.loads(folder.configuration.read_text())["pictures"]
    shutil.rmtree(folder.path)
    assert train().exit_code == 0
    assert json.loads(folder.configuration.read_text())["pictures"] != given


def test_bits_of_head_and_tail(train, folder, run):
    assert train("--head-bits", "8", "--tail-bits", "8/6", "--override", "body.1=float", method="dorefa").exit_code == 0
    layers = {layer["name"]: layer for layer in json.loads(run("info", folder.model, "--json", "-").stdout)["layers"]}
    bits = {name: (layer["weight_bits"], layer["activation_bits"]) for name, layer in layers.items()}
    assert (bits["head.0"], bits["body.1"], bits["tail.1"]) == ((8, 8), (32, 32), (8, 6))


def test_the_same_command_continues_and_gives_the_same(train, folder):
    assert train().exit_code == 0
    first = folder.model.read_bytes()
    folder.model.unlink()
    result = train()
    assert "continuing from" in result.stderr
    assert folder.model.read_bytes() == first


def test_a_changed_configuration_shows_the_difference(train, folder, last_complaint):
    assert train().exit_code == 0
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    complaint = last_complaint(train("--seed", 3, "--set", "learning_rate=0.5", "--batch", 3))
    assert "option learning_rate: 0.0001 -> 0.5; " in complaint
    assert "; seed: 0 -> 3; batch of all processes: 2 -> 3)" in complaint
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    assert train("--seed", 3, "--overwrite").exit_code == 0
    assert json.loads(folder.configuration.read_text())["seed"] == "3"


def test_a_diverged_training_names_the_step(train, folder):
    result = train("--set", "learning_rate=1e30", "--checkpoint-every", 1)
    assert result.exit_code == 1
    assert "training diverged: " in result.stderr.splitlines()[-1]
    assert "--set" in result.stderr.splitlines()[-1]
    assert not folder.model.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--patch", "23"), "--patch 22"),
        (("--steps", "0"), "--steps 0: use at least 1"),
        (("--ema", "1"), "--ema 1.0"),
        (("--set", "learning_rat=3"), "did you mean 'learning_rate'?"),
        (("-w", "4"), "leave out -w"),
        (("--seed", "-1"), "at least 0"),
        (("--devices", "0"), "--devices 0"),
        (("--precision", "8"), "use 32 or bf16"),
        (("--scale", "3"), "not 3"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options_are_refused(train, complaint, folder, arguments, says):
    assert says in complaint(train(*arguments))
    assert not folder.path.exists()


@pytest.mark.parametrize(
    ("method", "init", "says"),
    [
        ("quantsrr", None, "did you mean 'quantsr'?"),
        ("minmax", None, "minmax doesn't train weights: use srquant quantize"),
        ("float", "missing.pt", "missing.pt: no such file"),
        ("float", "edsr:blocks=", "such as edsr:blocks=16"),
        ("float", "edsr:blocks=x", "blocks='x'"),
        ("float", "edsr:features=8,res_scale=0.5", "would be read back"),
        ("float", "esdr:blocks=1", "did you mean 'edsr'?"),
        ("pams", "edsr:blocks=1", "starts from trained weights"),
        ("float", "edsr:size=3", "can't be built with {'size': 3}"),
    ],
)
def test_bad_starts_are_refused(train, complaint, folder, files, method, init, says):
    assert says in complaint(train(method=method, init=init or files / "edsr.pt"))
    assert not folder.path.exists()


def test_bad_pictures_are_refused(train, complaint, folder, files, tmp_path):
    (tmp_path / "empty").mkdir()
    write_picture(tmp_path / "LR" / "0.png", 22, 24, seed=0)
    write_picture(tmp_path / "LR" / "1.png", 11, 12, seed=0)
    assert "contains no pictures" in complaint(train(hr=tmp_path / "empty"))
    assert "LR/1.png 11x12" in complaint(train("--lr", tmp_path / "LR"))
    assert "put its high-resolution pictures into" in complaint(train("--validate", tmp_path / "LR"))
    assert not folder.path.exists()


def test_folders_that_cant_be_written(train, complaint, folder):
    folder.path.mkdir()
    (folder.path / "mine.txt").write_text("mine")
    assert "contains files, but no run" in complaint(train())
    assert "contains files, but no run" in complaint(train("--overwrite"))
    assert (folder.path / "mine.txt").read_text() == "mine"


def test_quantized_files_are_no_start(train, complaint, quantized):
    assert "is already quantized" in complaint(train(init=quantized))


def test_random_weights_follow_the_seed(train, folder):
    weights = []
    for seed in (1, 1, 2):
        assert train("--seed", seed, "--overwrite", init="edsr:blocks=1,features=4").exit_code == 0
        weights.append(load_model(folder.model).module.head[0].weight)
    assert torch.equal(weights[0], weights[1])
    assert (weights[0] - weights[2]).abs().max() > 0.01


def test_tensorboard_is_optional(train, complaint, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert "pip install 'srquant[tensorboard]'" in complaint(train("--tensorboard"))
    assert not folder.path.exists()


def test_networks_with_attention(train, folder, tmp_path):
    torch.save(SwinIR((1,), heads=2, features=8, scale=2, window=4, hidden=8).state_dict(), tmp_path / "swinir.pt")
    assert train(init=tmp_path / "swinir.pt", method="quantsr").exit_code == 0
    assert load(folder.model).policy.kinds == TRAINED["quantsr"].attention
