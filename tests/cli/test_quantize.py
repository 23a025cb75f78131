import json

import pytest
import torch

from srquant.methods import METHODS
from srquant.models.edsr import EDSR


@pytest.fixture
def quantize(run, files, calibration, tmp_path):
    def invoke(*arguments, model=None, target=tmp_path / "out.safetensors"):
        return run("quantize", model or files / "edsr.pt", *calibration, "-o", target, *arguments)

    return invoke


@pytest.fixture
def layers(run, quantize, tmp_path):
    def after(*arguments):
        result = quantize(*arguments, "--overwrite")
        assert result.exit_code == 0, result.output
        value = json.loads(run("info", tmp_path / "out.safetensors", "--json", "-").stdout)
        return {layer["name"]: (layer["weight_bits"], layer["activation_bits"]) for layer in value["layers"]}

    return after


def test_bits_reach_their_layers(layers):
    bits = layers("-w", 3, "-a", 5, "--head-bits", "0", "--tail-bits", "6/7", "--override", "body.0.*=2/4")
    assert bits["head.0"] == (32, 32)
    assert bits["body.0.body.0"] == bits["body.0.body.2"] == (2, 4)
    assert bits["body.1"] == (3, 5)
    assert bits["tail.1"] == (6, 7)


def test_last_override_decides_and_may_be_float(layers):
    bits = layers("--override", "body.*=2/2", "--override", "body.1=float")
    assert bits["body.0.body.0"] == (2, 2)
    assert bits["body.1"] == (32, 32)


@pytest.mark.parametrize("method", METHODS)
def test_methods(quantize, run, method):
    assert method in run("quantize", "--help").stdout
    assert quantize("--method", method, "--skip-bits", "8", "--granularity", "channel").exit_code == 0


def test_same_seed_same_file(quantize, tmp_path):
    contents = []
    for name in ("a", "b"):
        quantize("--seed", 3, target=tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_existing_output_needs_overwrite(quantize, complaint, tmp_path):
    (tmp_path / "out.safetensors").write_text("mine")
    assert "--overwrite" in complaint(quantize())
    assert (tmp_path / "out.safetensors").read_text() == "mine"
    assert quantize("--overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--method", "minimax"), "did you mean 'minmax'?"),
        (("--finetune", "--recipe", "publish"), "did you mean 'published'?"),
        (("-w", "9"), "from 2 to 8"),
        (("-a", "1"), "from 2 to 8"),
        (("--head-bits", "many"), "--head-bits many"),
        (("--skip-bits", "4"), "give float or 8"),
        (("--granularity", "pixel"), "'tensor' or 'channel'"),
        (("--override", "body.0=x"), "--override x"),
        (("--override", "body.0"), "PATTERN=W/A"),
        (("--override", "bdy.*=4/4"), "matches no layer"),
        (("--scale", "3"), "not 3"),
        (("--count", "0"), "at least 1"),
        (("--count", "5"), "--count 4"),
        (("--patch", "33"), "--patch 32"),
        (("--seed", "-1"), "at least 0"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
)
def test_bad_options_are_refused(quantize, complaint, arguments, says, tmp_path):
    assert says in complaint(quantize(*arguments))
    assert not list(tmp_path.iterdir())


def test_empty_calibration_folder(quantize, complaint, tmp_path):
    (tmp_path / "none").mkdir()
    assert "holds no pictures" in complaint(quantize("--calibration", tmp_path / "none"))


def test_unwritable_output(quantize, complaint, tmp_path):
    assert "can't write" in complaint(quantize(target=tmp_path / "missing" / "out.safetensors"))
    assert "is a folder" in complaint(quantize(target=tmp_path))


def test_unknown_network(quantize, complaint, tmp_path):
    torch.save({"some.weight": torch.ones(3, 3)}, tmp_path / "unknown.pt")
    assert "unknown.pt" in complaint(quantize(model=tmp_path / "unknown.pt"))


def test_diverged_network(quantize, complaint, tmp_path):
    weights = EDSR(1, 8, 2).state_dict()
    weights["head.0.weight"][0, 0, 0, 0] = float("nan")
    torch.save(weights, tmp_path / "nan.pt")
    assert "NaN" in complaint(quantize(model=tmp_path / "nan.pt"))


def test_quantized_file_cant_be_quantized_again(quantize, quantized, complaint):
    assert "quantized already" in complaint(quantize(model=quantized))
