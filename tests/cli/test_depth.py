"""``--depth`` of the verbs that open a model."""

from pathlib import Path

import onnx
import pytest
import torch

from srquant.deploy.file.save_load import save
from srquant.deploy.frozen.freeze import freeze
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.quantsr.method import QuantSR, prepare
from srquant.models.load import build


@pytest.fixture(scope="module")
def deep(tmp_path_factory) -> Path:
    """EDSR of two blocks, of which one can be left out; not trained."""
    torch.manual_seed(0)
    network = build("edsr", {"blocks": 2, "features": 8, "scale": 2})
    student = prepare(network, [torch.rand(2, 3, 16, 16)], Policy(LayerBits(4, 4)), QuantSR(depths=(2, 1)), 1)
    path = tmp_path_factory.mktemp("depth") / "deep.safetensors"
    save(freeze(student.result()), path)
    return path


def test_info_lists_depths(run, read, deep):
    value = read("info", deep)
    full, half = value["depths"]
    assert (full["depth"], half["depth"]) == (2, 1)
    assert full["blocks"] == ["body.0", "body.1"]
    assert half["bit_ops"] < full["bit_ops"]
    assert half["size_bytes"] < full["size_bytes"] < value["size_bytes"]
    printed = run("info", deep).stdout
    assert "depth 1: " in printed
    assert printed.count("counted as b/32: ") == 3  # the network, and each depth
    assert 0 < full["compression"]["operations_saved"] < half["compression"]["operations_saved"] < 1
    assert half["compression"]["weights"] < full["compression"]["weights"]
    alone = read("info", deep, "--depth", 1)
    assert len(value["layers"]) - len(alone["layers"]) == 2
    assert "depths" not in alone


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnxruntime"])
def test_evaluate(read, files, deep, engine):
    scores = [
        read("evaluate", deep, "--data", files / "Tiny", "--engine", engine, *depth)["psnr_y"]
        for depth in ([], ["--depth", 2], ["--depth", 1])
    ]
    assert scores[0] == scores[1] != scores[2]


def test_export_and_upscale(run, read, files, deep, tmp_path):
    value = read("export", deep, "-o", tmp_path / "half.onnx", "--depth", 1)
    onnx.checker.check_model(onnx.load(tmp_path / "half.onnx"))
    assert len(value["layers"]) == 6
    for depth in (1, 2):
        result = run("upscale", deep, files / "picture.png", "-o", tmp_path / f"{depth}.png", "--depth", depth)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "2.png").read_bytes()


@pytest.mark.parametrize("verb", ["info", "evaluate", "export", "upscale"])
def test_depth_that_was_not_trained_is_refused(run, complaint, files, deep, tmp_path, verb):
    arguments = {
        "info": [],
        "evaluate": ["--data", files / "Tiny"],
        "export": ["-o", tmp_path / "model.xml"],
        "upscale": [files / "picture.png", "-o", tmp_path / "out.png"],
    }
    line = complaint(run(verb, deep, *arguments[verb], "--depth", 3))
    assert "depth 3 was not trained; choose 2 or 1" in line
    assert "one depth" in complaint(run(verb, files / "edsr.pt", *arguments[verb], "--depth", 1))
