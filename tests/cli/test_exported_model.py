"""Exported models as MODEL of upscale, evaluate, bench and info."""

import re

import numpy as np
import onnx
import openvino
import pytest
import pyvips

ENGINES = {"xml": "openvino", "onnx": "onnxruntime"}
FORMATS = pytest.mark.parametrize("suffix", ENGINES)


@pytest.fixture(scope="module")
def exported(run, quantized, tmp_path_factory):
    """``m.xml`` with ``m.bin``, and ``m.onnx``, of the quantized file."""
    folder = tmp_path_factory.mktemp("exported")
    for suffix in ENGINES:
        result = run("export", quantized, "-o", folder / f"m.{suffix}")
        assert result.exit_code == 0, result.output
    return folder


@FORMATS
@pytest.mark.parametrize("tile", ["auto", "8"])
def test_upscale_gives_the_picture_of_the_quantized_file(run, files, quantized, exported, tmp_path, suffix, tile):
    pictures = []
    for model, engine in ((quantized, ENGINES[suffix]), (exported / f"m.{suffix}", "auto")):
        target = tmp_path / f"{engine}.png"
        result = run("upscale", model, files / "picture.png", "-o", target, "--engine", engine, "--tile", tile)
        assert result.exit_code == 0, result.output
        assert f"engine {ENGINES[suffix]}" in result.stderr
        pictures.append(pyvips.Image.new_from_file(str(target)).numpy())
    assert np.array_equal(*pictures)


@FORMATS
def test_upscale_goes_on_with_a_folder(run, files, exported, tmp_path, suffix):
    arguments = ["upscale", exported / f"m.{suffix}", files / "calibration", "-o", tmp_path / "out"]
    assert "4 written, 0 already done" in run(*arguments).stdout
    assert "0 written, 4 already done" in run(*arguments).stdout


@FORMATS
def test_evaluate_gives_the_scores_of_the_quantized_file(read, run, files, quantized, exported, suffix):
    engine, data = ENGINES[suffix], ["--data", files / "Tiny"]
    direct = read("evaluate", quantized, *data, "--engine", engine)
    found = read("evaluate", exported / f"m.{suffix}", *data)
    bits, expected = found.pop("bits"), direct.pop("bits")
    assert found == direct
    assert (bits["engine"], bits["float_layers"]) == (engine, expected["float_layers"])
    nominal = ("name", "weight_bits", "activation_bits")
    assert bits["layers"] == [{key: layer[key] for key in nominal} for layer in expected["layers"]]
    text = run("evaluate", exported / f"m.{suffix}", *data).stdout
    assert "FAB 4.00" in text
    assert f"bits (weights/activations), engine {engine}" in text


@FORMATS
def test_patches_and_scale(read, run, files, exported, suffix):
    arguments = ["evaluate", exported / f"m.{suffix}", "--data", files / "Tiny", "--scale", 2]
    assert read(*arguments, "--patch", 8)["psnr_y"] != read(*arguments)["psnr_y"]


@FORMATS
def test_bench_times_its_engine(read, exported, suffix):
    values = read("bench", exported / f"m.{suffix}", "--input", "16x24", "--rounds", 1, "--threads", 1)
    (row,) = values["rows"]
    assert row["engine"] == ENGINES[suffix]
    assert row["precision"] in ("int8", "mixed", "float32")
    assert 0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"]


@FORMATS
def test_info_tells_layers_and_tiles(read, run, quantized, exported, suffix):
    values, direct = read("info", exported / f"m.{suffix}"), read("info", quantized)
    for key in ("architecture", "scale", "tile_overlap", "tiles_exact"):
        assert values[key] == direct[key]
    assert values["engine"] == ENGINES[suffix]
    bits = {layer["name"]: (layer["weight_bits"], layer["activation_bits"]) for layer in values["layers"]}
    assert bits == {layer["name"]: (layer["weight_bits"], layer["activation_bits"]) for layer in direct["layers"]}
    text = run("info", exported / f"m.{suffix}").stdout
    assert f"edsr x2, RGB 0-1, exported, runs in {ENGINES[suffix]}" in text
    assert "give the untiled result" in text


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("upscale", ["--engine", "torch"], "--engine torch: .*use --engine openvino or auto"),
        ("upscale", ["--engine", "onnxruntime"], "--engine onnxruntime: .*m.xml runs in openvino only"),
        ("upscale", ["--device", "cuda"], "--device cuda: .*leave the option out"),
        ("upscale", ["--precision", "16"], "--precision 16: .*leave the option out"),
        ("upscale", ["--compile"], "--compile: .*leave the option out"),
        ("upscale", ["--depth", "1"], "--depth 1: .*leave the option out"),
        ("upscale", ["--scale", "3"], "--scale 3: .*m.xml upscales by 2; leave the option out"),
        ("evaluate", ["--scale", "3"], "--scale 3: .*upscales by 2"),
        ("evaluate", ["--engine", "triton"], "--engine triton: .*use --engine openvino or auto"),
        ("bench", ["--device", "cuda"], "--device cuda"),
        ("bench", ["--scale", "4"], "--scale 4"),
        ("info", ["--depth", "1"], "--depth 1"),
    ],
)
def test_options_that_do_not_apply(run, files, complaint, exported, tmp_path, command, options, words):
    needed = {
        "upscale": [files / "picture.png", "-o", tmp_path / "out.png"],
        "evaluate": ["--data", files / "Tiny"],
    }
    message = complaint(run(command, exported / "m.xml", *needed.get(command, []), *options))
    assert re.search(words, message)


@pytest.mark.parametrize("command", ["export", "quantize"])
def test_it_cannot_be_changed(run, exported, complaint, calibration, tmp_path, command):
    options = calibration if command == "quantize" else []
    message = complaint(run(command, exported / "m.onnx", *options, "-o", tmp_path / "m.safetensors.xml"))
    assert "m.onnx: an exported model can be run, but not changed or exported; give the checkpoint" in message


@pytest.mark.parametrize("command", ["info", "bench", "evaluate"])
def test_damaged_files_end_with_one_line(run, files, complaint, exported, tmp_path, command):
    data = ["--data", files / "Tiny"] if command == "evaluate" else []
    for suffix in ENGINES:
        (tmp_path / f"m.{suffix}").write_bytes((exported / f"m.{suffix}").read_bytes()[:500])
    assert "m.xml: its weights are missing; copy m.bin" in complaint(run(command, tmp_path / "m.xml", *data))
    (tmp_path / "m.bin").write_bytes((exported / "m.bin").read_bytes())
    assert "m.xml: OpenVINO can't read it" in complaint(run(command, tmp_path / "m.xml", *data))
    assert "m.onnx: ONNX Runtime can't read it" in complaint(run(command, tmp_path / "m.onnx", *data))


def without_facts(exported, target, side=None):
    """The exported model as another tool would have written it, for pictures of one size if ``side`` is given."""
    if target.suffix == ".onnx":
        model = onnx.load(exported / "m.onnx")
        del model.metadata_props[:]
        onnx.save(model, target)
    else:
        model = openvino.Core().read_model(exported / "m.xml")
        plain = openvino.Model(model.get_results(), model.get_parameters(), "net")
        if side is not None:
            plain.reshape([1, 3, side, side])
        openvino.save_model(plain, target, compress_to_fp16=False)
    return target


@FORMATS
def test_models_of_other_tools(read, run, files, exported, tmp_path, suffix):
    model = without_facts(exported, tmp_path / f"other.{suffix}")
    scores = read("evaluate", model, "--data", files / "Tiny")
    assert scores["psnr_y"] == read("evaluate", exported / f"m.{suffix}", "--data", files / "Tiny")["psnr_y"]
    assert (scores["bits"], scores["fab"]) == (None, None)
    values = read("info", model)
    assert (values["architecture"], values["scale"], values["tiles_exact"]) == ("unknown", 2, False)
    assert all(layer["weight_bits"] is None for layer in values["layers"])
    result = run("upscale", model, files / "picture.png", "-o", tmp_path / "out.png")
    assert result.exit_code == 0, result.output


def test_a_fixed_size_of_another_tool(read, run, files, complaint, exported, tmp_path):
    model = without_facts(exported, tmp_path / "fixed.xml", side=32)
    assert read("evaluate", model, "--data", files / "Tiny")["psnr_y"] > 10
    assert read("bench", model, "--input", "32x32", "--rounds", 1)["rows"][0]["engine"] == "openvino"
    for size in ("180x320", "8x32"):
        assert f"--input {size}: the model can't take this size; use --input 32x32" in complaint(
            run("bench", model, "--input", size)
        )
    assert "pictures of at most 32x32 pixels" in run("info", model).stdout
