import json

import pytest
import torch

KEYS = {"architecture", "scale", "parameters", "size_bytes", "layers", "tile_overlap", "tiles_exact"}
LAYER_KEYS = {"name", "kind", "weight_bits", "activation_bits", "levels_used", "ranges", "piecewise_codes", "choices"}


@pytest.fixture
def read(run):
    def info(path):
        result = run("info", path, "--json", "-")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return info


def test_json_of_a_float_model(read, files):
    value = read(files / "edsr.pt")
    assert value.keys() == KEYS
    assert all(layer.keys() == LAYER_KEYS for layer in value["layers"])
    assert (value["architecture"], value["scale"], value["tiles_exact"]) == ("edsr", 2, True)
    assert 5 <= value["tile_overlap"] <= 10
    assert value["size_bytes"] == (files / "edsr.pt").stat().st_size
    assert {(layer["weight_bits"], layer["activation_bits"]) for layer in value["layers"]} == {(32, 32)}


def test_json_of_a_quantized_model(read, files, quantized):
    value = read(quantized)
    bits = {layer["name"]: (layer["weight_bits"], layer["activation_bits"]) for layer in value["layers"]}
    assert bits["head.0"] == (8, 8)
    assert bits["body.0.body.0"] == (4, 4)
    used = {layer["name"]: layer["levels_used"] for layer in value["layers"]}
    assert 2 <= used["body.0.body.0"] <= 16
    assert value["parameters"] == read(files / "edsr.pt")["parameters"]


def test_table_shows_bits_and_operations(run, quantized):
    text = run("info", quantized, "--input", "10x20").stdout
    assert "body.0.body.2" in text
    assert "picture of 10x20" in text
    assert "quantized by minmax" in text
    assert f", {torch.get_num_threads()} thread" in text
    assert "pixels and give the untiled result" in text


def test_packaged_model_by_name(read):
    assert read("edsr_small_x2")["scale"] == 2


def test_json_goes_to_a_file(run, files, tmp_path):
    target = tmp_path / "info.json"
    result = run("info", files / "edsr.pt", "--json", target)
    assert result.exit_code == 0
    assert json.loads(target.read_text()).keys() == KEYS
    assert "head.0" in result.stdout


@pytest.mark.parametrize("size", ["big", "0x10", "10", "10x-3"])
def test_input_size_must_look_like_one(run, files, complaint, size):
    assert "such as 180x320" in complaint(run("info", files / "edsr.pt", "--input", size))
