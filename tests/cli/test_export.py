import json

import onnx
import openvino
import pytest
import yaml


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
