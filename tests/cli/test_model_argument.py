"""What is given in the place of the model by mistake."""

import pytest
import torch
from PIL import Image


@pytest.mark.parametrize("verb", ["info", "bench", "export", "upscale"])
def test_a_packaged_name_with_a_typing_error(run, files, complaint, tmp_path, verb):
    more = {"export": ["-o", tmp_path / "m.xml"], "upscale": [files / "picture.png", "-o", tmp_path / "o.png"]}
    result = run(verb, "edsr_smal_x2", *more.get(verb, []))
    assert "edsr_smal_x2: no such file; did you mean 'edsr_small_x2'?" in complaint(result)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_a_picture(run, complaint, tmp_path, kind):
    Image.new("RGB", (8, 8)).save(tmp_path / "a", kind)
    says = complaint(run("info", tmp_path / "a"))
    assert says.endswith(f"a is a picture ({kind}), not a PyTorch checkpoint; give the model here")


@pytest.mark.parametrize("source", ["edsr_small_x2", "edsr.pt", "none.onnx"])
@pytest.mark.parametrize("model", ["picture.png", "calibration"])
def test_swapped_arguments(run, files, complaint, tmp_path, model, source):
    source = source if source == "edsr_small_x2" else files / source
    message = complaint(run("upscale", files / model, source, "-o", tmp_path / "o.png"))
    assert message.endswith(f"{model} is no model, but {source} is: give them in the order MODEL INPUT")


def test_two_pictures(run, files, complaint, tmp_path):
    message = complaint(run("upscale", files / "picture.png", files / "picture.png", "-o", tmp_path / "o.png"))
    assert "is a picture (PNG), not a PyTorch checkpoint; give the model first" in message


def test_swapped_arguments_of_several(run, files, complaint, tmp_path):
    inputs = [files / "picture.png", "edsr_small_x2"]
    says = complaint(run("upscale", files / "picture.png", *inputs, "-o", tmp_path / "o"))
    assert says.endswith("picture.png is no model, but edsr_small_x2 is: give them in the order MODEL INPUT")


@pytest.mark.parametrize(
    ("arguments", "order"),
    [
        (("evaluate", "Tiny", "--data", "edsr.pt"), "MODEL --data DIR"),
        (("quantize", "calibration", "--calibration", "edsr.pt", "-o", "q.safetensors"), "MODEL --calibration DIR"),
    ],
    ids=["evaluate", "quantize"],
)
def test_swapped_model_and_folder(run, files, complaint, monkeypatch, arguments, order):
    monkeypatch.chdir(files)
    says = complaint(run(*arguments))
    assert says == f"srquant: {arguments[1]} is no model, but edsr.pt is: give them in the order {order}"


def test_a_model_among_the_pictures(run, files, complaint, tmp_path):
    result = run("upscale", files / "edsr.pt", files / "picture.png", files / "edsr.pt", "-o", tmp_path / "o")
    assert "edsr.pt is a model, not a picture; give one model, then pictures: MODEL INPUT" in complaint(result)


def test_a_picture_as_benchmark_set(run, files, complaint):
    says = complaint(run("evaluate", "edsr_small_x2", "--data", files / "picture.png"))
    assert "picture.png is not a folder: give a benchmark set" in says


@pytest.mark.parametrize(("suffix", "more"), [(".png", ""), (".onnx", "; srquant export writes .xml and .onnx of it")])
def test_a_quantized_file_with_the_name_of_something_else(run, files, calibration, complaint, tmp_path, suffix, more):
    target = tmp_path / f"net{suffix}"
    says = complaint(run("quantize", files / "edsr.pt", *calibration, "--method", "minmax", "-o", target))
    assert says.endswith(f"a quantized file is not {suffix}; use -o {tmp_path / 'net.safetensors'}{more}")


def test_text(run, complaint, tmp_path):
    (tmp_path / "net.pt").write_text("hello")
    says = complaint(run("info", tmp_path / "net.pt"))
    assert "not a PyTorch checkpoint by its first bytes, nor safetensors; give a checkpoint" in says


def test_a_folder(run, files, complaint):
    assert "is a folder; give a file in it, such as " in complaint(run("info", files))


def test_a_pickle_named_safetensors(run, complaint, tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "net.safetensors")
    for verb in (["info"], ["export", "-o", tmp_path / "m.xml"]):
        message = complaint(run(*verb, tmp_path / "net.safetensors"))
        assert "is a PyTorch file, not safetensors; rename it to net.pt" in message
