import json

import pytest

KEYS = {"dataset", "scale", "engine", "psnr_y", "ssim_a", "ssim_b", "fab", "images"}


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
        (("--data", "Tiny", "--json", "missing/out.json"), "can't write"),
    ],
    ids=["data", "engine", "json"],
)
def test_bad_options_are_refused(run, files, complaint, monkeypatch, arguments, says):
    monkeypatch.chdir(files)
    assert says in complaint(run("evaluate", "edsr.pt", *arguments))
