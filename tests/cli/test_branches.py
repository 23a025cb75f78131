"""Every verb on a network whose bits depend on the picture."""

import onnx
import openvino
import pytest

from srquant.cli.export import write_model
from srquant.errors import EngineError


@pytest.fixture(scope="module")
def adaptive(files, run, calibration):
    target = files / "edsr_adabm.safetensors"
    arguments = ["--method", "adabm", "--set", "epochs=1", *calibration]
    result = run("quantize", files / "edsr.pt", *arguments, "-o", target)
    assert result.exit_code == 0, result.output
    return target


def test_info_shows_bits_of_each_branch(run, read, adaptive):
    value = read("info", adaptive)
    lower, upper = value["thresholds"]
    assert 0 < lower < upper
    assert value["branch_bits"].keys() == {"body.0.body.0", "body.0.body.2", "body.1"}
    assert all(bits == [bits[1] - 1, bits[1], bits[1] + 1] for bits in value["branch_bits"].values())
    text = run("info", adaptive).stdout
    assert f"gradient density below {lower:.2f}: branch low" in text
    assert "3-5" in text


def test_evaluate_reports_the_bits_that_pictures_took(read, files, adaptive):
    whole = read("evaluate", adaptive, "--data", files / "Tiny", "--engine", "openvino")
    by_torch = read("evaluate", adaptive, "--data", files / "Tiny", "--engine", "torch")
    assert whole["psnr_y"] == pytest.approx(by_torch["psnr_y"], abs=0.01)
    assert whole["fab"] == by_torch["fab"]
    assert 3 - 1 / 3 <= whole["fab"] <= 5 + 1 / 3
    assert "fab" in read("evaluate", adaptive, "--data", files / "Tiny", "--patch", 12)


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_export_writes_a_model_for_each_branch(read, run, complaint, adaptive, tmp_path, suffix):
    value = read("export", adaptive, "-o", tmp_path / f"model{suffix}")
    targets = [tmp_path / f"model.{name}{suffix}" for name in ("low", "middle", "high")]
    assert [branch["path"] for branch in value["branches"]] == [str(target) for target in targets]
    assert value["thresholds"] == read("info", adaptive)["thresholds"]
    for target in targets:
        if suffix == ".xml":
            assert openvino.Core().read_model(target).input(0).any_name == "image"
        else:
            onnx.checker.check_model(onnx.load(target))
    again = run("export", adaptive, "-o", tmp_path / f"model{suffix}")
    assert f"model.low{suffix}" in complaint(again)


@pytest.mark.parametrize("suffix", [".xml", ".onnx"])
def test_models_of_two_exports_are_never_mixed(run, adaptive, tmp_path, monkeypatch, suffix):
    assert run("export", adaptive, "-o", tmp_path / f"model{suffix}").exit_code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    writes, write = iter(range(3)), write_model

    def stopping(*arguments):
        if next(writes) == 2:
            raise EngineError("stopped")
        return write(*arguments)

    monkeypatch.setattr("srquant.cli.export.write_model", stopping)
    assert run("export", adaptive, "-o", tmp_path / f"model{suffix}", "--overwrite").exit_code == 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_upscale(run, files, adaptive, tmp_path):
    result = run("upscale", adaptive, files / "picture.png", "-o", tmp_path / "large.png", "--tile", 8)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "large.png").exists()
