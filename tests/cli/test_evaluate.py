import json

import pytest
import torch

from srquant.errors import EngineError
from srquant.models.load import build

KEYS = {"dataset", "scale", "engine", "psnr_y", "ssim_a", "ssim_b", "fab", "images", "bits"}


def evaluate(run, *arguments):
    result = run("evaluate", *arguments, "--json", "-")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_json_keys_of_a_float_model(run, files):
    value = evaluate(run, files / "edsr.pt", "--data", files / "Tiny", "--engine", "torch")
    assert value.keys() == KEYS
    assert [image.keys() for image in value["images"]] == [{"name", "psnr_y", "ssim_a", "ssim_b"}] * 2
    assert (value["dataset"], value["scale"], value["engine"], value["fab"]) == ("Tiny", 2, "torch", None)


def test_engines_agree_on_a_quantized_model(run, files, quantized):
    values = [
        evaluate(run, quantized, "--data", files / "Tiny", "--engine", engine)
        for engine in ("torch", "openvino", "onnxruntime")
    ]
    assert len({round(value["psnr_y"], 3) for value in values}) == 1
    assert values[0]["fab"] == 4


def test_what_a_quantized_model_spends(run, files, quantized):
    value = evaluate(run, quantized, "--data", files / "Tiny", "--engine", "openvino")
    bits = value["bits"]
    assert 3 < bits["effective_activation_bits"] <= 4
    assert 3 < bits["effective_weight_bits"] <= 4
    assert 4 < bits["activation_bits"] < 8
    assert 4 < bits["weight_bits"] < 8
    assert bits["bit_ops"] > 0
    assert (bits["ranges"], bits["engine"], bits["float_layers"], bits["overspends"]) == ("static", "openvino", [], [])
    body = next(layer for layer in bits["layers"] if layer["name"] == "body.0.body.0")
    assert (body["activation_bits"], body["weight_bits"]) == (4, 4)
    assert 3 < body["effective_activation_bits"] <= 4
    shown = run("evaluate", quantized, "--data", files / "Tiny", "--engine", "torch").stdout
    assert f"effective bits {bits['effective_activation_bits']:.2f} activations" in shown
    assert "static ranges, engine torch, 0 quantized layers that no engine computes in integers" in shown
    assert "†" not in shown


@pytest.fixture
def method_file(run, files, calibration, tmp_path):
    def made(*arguments):
        result = run("quantize", files / "edsr.pt", *calibration, "-o", tmp_path / "out.safetensors", *arguments)
        assert result.exit_code == 0, result.output
        return tmp_path / "out.safetensors"

    return made


def test_onnx_runtime_leaves_no_quantized_convolution_in_float(run, files, quantized):
    value = evaluate(run, quantized, "--data", files / "Tiny", "--engine", "onnxruntime")
    assert value["bits"]["float_layers"] == []


def test_codes_are_counted_on_patches_where_patches_are_asked_for(run, files, method_file):
    model = method_file("--method", "adabm", "--set", "epochs=1")
    whole, patches = (
        evaluate(run, model, "--data", files / "Tiny", "--engine", "torch", *more)["bits"]
        for more in ((), ("--patch", 8))
    )
    assert patches["effective_activation_bits"] != whole["effective_activation_bits"]


def test_a_method_that_spends_more_codes_than_it_says_is_marked(run, files, method_file):
    model = method_file("--method", "outlier-aware", "--set", "finetune=none", "--set", "levels=code")
    bits = evaluate(run, model, "--data", files / "Tiny", "--engine", "torch")["bits"]
    assert bits["effective_activation_bits"] > 4
    assert "body.0.body.0" in bits["overspends"]
    shown = run("evaluate", model, "--data", files / "Tiny", "--engine", "torch").stdout
    assert "† " in shown
    assert "use more codes than their bits can hold" in shown


def test_operands_of_products_are_counted(run, files, calibration, tmp_path):
    model = tmp_path / "model.safetensors"
    network = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16})
    torch.save(network.module.state_dict(), tmp_path / "swinir.pt")
    arguments = ("--method", "minmax", "--layers", "matmul", *calibration, "-o", model)
    assert run("quantize", tmp_path / "swinir.pt", *arguments).exit_code == 0
    bits = evaluate(run, model, "--data", files / "Tiny", "--engine", "torch")["bits"]
    names = {layer["name"].rpartition("attn.")[2] for layer in bits["layers"]}
    assert names == {"qk.left", "qk.right", "av.left", "av.right"}
    assert 2 < bits["effective_activation_bits"] <= 4
    assert bits["effective_weight_bits"] is None


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnxruntime"])
def test_dynamic_ranges_are_named_and_their_layers_run_in_float(run, files, method_file, engine):
    model = method_file("--method", "gba", "--set", "epochs=1")
    bits = evaluate(run, model, "--data", files / "Tiny", "--engine", engine)["bits"]
    assert bits["ranges"] == "dynamic"
    assert "body.0.body.0" in bits["float_layers"]


def test_an_engine_that_cannot_run_the_method(run, files, quantized, monkeypatch):
    def refuse(*arguments):
        raise EngineError("layer 'body.1' has no form in exports; engine 'torch' runs it")

    monkeypatch.setattr("srquant.deploy.openvino.model.to_openvino", refuse)
    result = run("evaluate", quantized, "--data", files / "Tiny", "--engine", "openvino")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.strip() == "srquant: layer 'body.1' has no form in exports; engine 'torch' runs it"


def test_several_sets_give_a_list(run, files):
    value = evaluate(run, files / "edsr.pt", "--data", files / "Tiny", "--data", files / "Tiny", "--engine", "torch")
    assert [v["dataset"] for v in value] == ["Tiny", "Tiny"]


def test_patches_change_the_picture(run, files):
    arguments = [files / "edsr.pt", "--data", files / "Tiny", "--engine", "torch"]
    assert evaluate(run, *arguments)["psnr_y"] != evaluate(run, *arguments, "--patch", 8)["psnr_y"]


def test_table(run, files):
    result = run("evaluate", files / "edsr.pt", "--data", files / "Tiny", "--engine", "torch")
    assert "Tiny x2, torch" in result.stdout
    assert "mean" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--data", "nowhere"), "nowhere"),
        (("--data", "Tiny", "--engine", "tensorflow"), "no engine is called"),
        (("--data", "Tiny", "--json", "edsr.pt/out.json"), "can't write"),
    ],
    ids=["data", "engine", "json"],
)
def test_bad_options_are_refused(run, files, complaint, monkeypatch, arguments, says):
    monkeypatch.chdir(files)
    assert says in complaint(run("evaluate", "edsr.pt", *arguments))


def test_further_metrics_stand_beside_psnr(run, files, quantized):
    value = evaluate(run, quantized, "--data", files / "Tiny", "--metric", "psnr-rgb", "--metric", "gmsd")
    assert all({"psnr-rgb", "gmsd"} < image.keys() for image in value["images"])
    assert value["psnr-rgb"] == pytest.approx(sum(image["psnr-rgb"] for image in value["images"]) / 2)
    assert "gmsd" in run("evaluate", quantized, "--data", files / "Tiny", "--metric", "gmsd").stdout


def test_against_the_float_network_no_originals_are_needed(run, files, quantized):
    value = evaluate(run, quantized, "--data", files / "calibration", "--against", files / "edsr.pt")
    assert value["dataset"] == "calibration"
    assert 15 < value["psnr_y"] < 60
    itself = evaluate(run, files / "edsr.pt", "--data", files / "calibration", "--against", files / "edsr.pt")
    assert itself["psnr_y"] is None
    assert itself["ssim_a"] == 1


def test_against_a_network_of_another_scale(run, complaint, files, quantized, tmp_path):
    torch.save(build("edsr", {"blocks": 1, "features": 8, "scale": 4}).module.state_dict(), tmp_path / "x4.pt")
    arguments = ["evaluate", quantized, "--data", files / "calibration", "--against", tmp_path / "x4.pt"]
    assert "upscales by 4, the model by 2" in complaint(run(*arguments))


def test_bit_operations_follow_the_size_of_pictures(run, files, quantized):
    bits = evaluate(run, quantized, "--data", files / "Tiny")["bits"]
    assert bits["bit_ops_per_picture"]["Tiny"] == pytest.approx(bits["bit_ops"] * 22 * 24 / (180 * 320))
    assert 0.7 < bits["compression"]["weights_saved"] < 0.9
