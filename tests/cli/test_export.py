import json

import onnx
import openvino
import pytest


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
