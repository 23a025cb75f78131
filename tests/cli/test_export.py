import json
import re

import numpy as np
import onnx
import openvino
import pytest
import pyvips
import torch
import yaml

from srquant.models.load import build
from srquant.upscale.exported.open_exported import open_exported


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
@pytest.mark.parametrize("kind", ["float", "quantized"])
def test_export_reports_the_precision_of_every_layer(run, files, quantized, tmp_path, suffix, kind):
    model, target = files / "edsr.pt" if kind == "float" else quantized, tmp_path / f"model{suffix}"
    result = run("export", model, "-o", target, "--json", "-")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value.keys() == {"path", "layers"}
    assert value["path"] == str(target)
    assert all(layer.keys() == {"name", "precision", "ranges"} for layer in value["layers"])
    assert len(value["layers"]) == 6
    assert {layer["precision"] for layer in value["layers"]} <= {"int8", "float32"}
    if suffix == ".xml":
        assert openvino.Core().read_model(target).input(0).any_name == "image"
        assert kind == "quantized" or all(layer["precision"] == "float32" for layer in value["layers"])
    else:
        onnx.checker.check_model(onnx.load(target))


def test_export_says_how_to_compile_for_the_evaluated_picture(run, quantized, tmp_path):
    result = run("export", quantized, "-o", tmp_path / "m.xml")
    options = json.loads(re.search(r"{.*}", result.stderr)[0])
    images = np.random.default_rng(0).random((1, 3, 24, 32), dtype=np.float32)
    compiled = openvino.Core().compile_model(tmp_path / "m.xml", "CPU", options)
    np.testing.assert_array_equal(compiled([images])[0], open_exported(tmp_path / "m.xml")(images))
    assert not run("export", quantized, "-o", tmp_path / "m.onnx").stderr


def test_dynamic_ranges_are_told_by_export_and_info(run, files, calibration, tmp_path):
    model = tmp_path / "gba.safetensors"
    settings = ["--set", "epochs=1", "--set", "finetune=false"]
    result = run("quantize", files / "edsr.pt", *calibration, "--method", "gba", *settings, "-o", model)
    assert result.exit_code == 0, result.output
    assert "float32, dynamic ranges" in run("export", model, "-o", tmp_path / "m.onnx").stdout
    assert "4 dynamic" in run("info", model).stdout


def test_other_suffix_is_refused(run, files, complaint, tmp_path):
    assert ".xml for OpenVINO, or .onnx" in complaint(run("export", files / "edsr.pt", "-o", tmp_path / "m.engine"))


@pytest.mark.parametrize("existing", ["m.xml", "m.bin"])
def test_existing_output_needs_overwrite(run, files, complaint, tmp_path, existing):
    (tmp_path / existing).write_text("mine")
    arguments = ["export", files / "edsr.pt", "-o", tmp_path / "m.xml"]
    assert existing in complaint(run(*arguments))
    assert run(*arguments, "--overwrite").exit_code == 0


def test_damaged_quantized_file(run, quantized, complaint, tmp_path):
    content = bytearray(quantized.read_bytes())
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(content[: len(content) // 2])
    assert "damaged.safetensors" in complaint(run("export", damaged, "-o", tmp_path / "m.xml"))


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_layers_are_reported_with_their_share_of_the_time(run, quantized, tmp_path, suffix):
    target, path = tmp_path / f"model{suffix}", tmp_path / "layers.yaml"
    result = run("export", quantized, "-o", target, "--layers", path, "--input", "24x32", "--json", "-")
    assert result.exit_code == 0, result.output
    report, exported = yaml.safe_load(path.read_text()), json.loads(result.stdout)["layers"]
    assert (report["model"], report["input"]) == (target.name, "24x32")
    assert [(layer["name"], layer["precision"]) for layer in report["layers"]] == [
        (layer["name"], layer["precision"]) for layer in exported
    ]
    assert {(layer["weight_bits"], layer["activation_bits"]) for layer in report["layers"]} == {(8, 8), (4, 4)}
    shares = [layer["time_share"] for layer in report["layers"] if layer["precision"] == "int8"]
    assert all(0 < share < 1 for share in shares)
    assert shares or suffix == ".onnx"
    known = sum(layer["time_share"] or 0 for layer in report["layers"])
    assert known + report["other_time_share"] == pytest.approx(1, abs=0.01)
    assert report["milliseconds"] > 0


def test_a_report_needs_a_place_and_a_size_that_fits(run, quantized, complaint, tmp_path):
    existing, arguments = tmp_path / "layers.yaml", ("export", quantized, "-o", tmp_path / "m.xml")
    existing.write_text("mine")
    assert "layers.yaml exists" in complaint(run(*arguments, "--layers", existing))
    assert "--input 24" in complaint(run(*arguments, "--layers", tmp_path / "new.yaml", "--input", "24"))
    assert not (tmp_path / "m.xml").exists()


@pytest.fixture(scope="module")
def for_tensorrt(run, quantized, tmp_path_factory):
    """The quantized file for pictures of 32x32 pixels, and what the command printed."""
    target = tmp_path_factory.mktemp("tensorrt") / "m.onnx"
    result = run("export", quantized, "-o", target, "--target", "tensorrt", "--input", "32x32", "--json", "-")
    assert result.exit_code == 0, result.output
    return target, json.loads(result.stdout)


def test_a_file_for_tensorrt_asks_for_int8(for_tensorrt):
    path, value = for_tensorrt
    assert {layer["precision"] for layer in value["layers"]} == {"int8"}
    assert len(value["layers"]) == 6
    sizes = [size.dim_value for size in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    assert sizes == [1, 3, 32, 32]


def test_a_file_for_tensorrt_is_evaluated_and_upscales_in_tiles(read, run, files, quantized, for_tensorrt, tmp_path):
    path, _ = for_tensorrt
    scores = [read("evaluate", model, "--data", files / "Tiny")["psnr_y"] for model in (path, quantized)]
    assert scores[0] == pytest.approx(scores[1], abs=0.05), "pictures are smaller than a tile: padded by their edge"
    large = tmp_path / "large.png"
    pyvips.Image.new_from_file(str(files / "picture.png")).resize(3).write_to_file(str(large))
    pictures = []
    for model in (path, quantized):
        result = run("upscale", model, large, "-o", tmp_path / "out.png", "--engine", "auto", "--overwrite")
        assert result.exit_code == 0, result.output
        pictures.append(pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy().astype(int))
    assert abs(pictures[0] - pictures[1]).max() <= 1
    assert (pictures[0] == pictures[1]).mean() >= 0.999


@pytest.mark.parametrize(
    ("output", "options", "words"),
    [
        ("m.xml", ["--target", "tensorrt", "--input", "32x32"], "m.xml: --target tensorrt writes .onnx; use -o m.onnx"),
        ("m.onnx", ["--target", "openvino"], "--target openvino writes .xml; use -o m.xml"),
        ("m.onnx", ["--target", "tensorflow"], "--target tensorflow: unknown; did you mean 'tensorrt'"),
        ("m.onnx", ["--target", "tensorrt"], "give it with --input HxW"),
        ("m.onnx", ["--target", "tensorrt", "--input", "32x"], "--input 32x: give height x width"),
        ("m.onnx", ["--target", "tensorrt", "--input", "32x32", "--layers", "l.yaml"], "--layers l.yaml: "),
    ],
)
def test_targets_that_can_not_be(run, complaint, tmp_path, output, options, words):
    assert words in complaint(run("export", "missing.pt", "-o", tmp_path / output, *options))


def test_a_size_that_the_network_can_not_take(run, complaint, tmp_path):
    torch.save(build("rrdbnet", {"blocks": 1, "scale": 2, "unshuffle": 2}).module.state_dict(), tmp_path / "rrdb.pt")
    arguments = ["export", tmp_path / "rrdb.pt", "-o", tmp_path / "m.onnx", "--target", "tensorrt"]
    words = complaint(run(*arguments, "--input", "31x32"))
    assert "--input 31x32: the model can't take this size; use --input 32x32" in words
