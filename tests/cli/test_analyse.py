"""``srquant analyse``."""

import pytest
import torch

from srquant.models.architectures.edsr import EDSR


@pytest.fixture(scope="module")
def crops(files):
    return ["--calibration", files / "calibration", "--count", 2, "--patch", 12]


def made(run, folder, analysis, *arguments):
    """Names of the files that an analysis writes."""
    result = run("analyse", analysis, *arguments, "-o", folder)
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in folder.iterdir())
    assert [line.split(": ")[0] for line in sorted(result.stdout.splitlines())] == [
        str(folder / name) for name in names
    ]
    return names


def test_an_unknown_analysis_ends_with_2(run):
    result = run("analyse", "weather")
    assert result.exit_code == 2
    assert "weather" in result.stderr


def test_sensitivity(run, files, crops, tmp_path):
    names = made(run, tmp_path / "new", "sensitivity", files / "edsr.pt", *crops, "-w", 3, "-a", 3)
    assert names == ["sensitivity.csv", "sensitivity.json", "sensitivity.png"]


def test_existing_results_need_overwrite(run, complaint, files, crops, tmp_path):
    (tmp_path / "sensitivity.json").write_text("mine")
    message = complaint(run("analyse", "sensitivity", files / "edsr.pt", *crops, "-o", tmp_path))
    assert "sensitivity.json exists: use --overwrite" in message
    assert (tmp_path / "sensitivity.json").read_text() == "mine"


def test_a_file_is_no_folder_for_results(run, complaint, files, crops):
    message = complaint(run("analyse", "sensitivity", files / "edsr.pt", *crops, "-o", files / "edsr.pt"))
    assert "edsr.pt is a file" in message


def test_a_quantized_file_where_a_float_network_belongs(run, complaint, quantized, crops, tmp_path):
    message = complaint(run("analyse", "sensitivity", quantized, *crops, "-o", tmp_path / "r"))
    assert "already quantized" in message
    assert not (tmp_path / "r").exists()


def test_variance(run, files, crops, tmp_path):
    names = made(run, tmp_path, "variance", files / "edsr.pt", *crops, "--layer", "body.0.body.2")
    assert names == ["variance.csv", "variance.json", "variance.png"]


def test_one_layer_is_drawn(run, complaint, files, crops, tmp_path):
    arguments = ["analyse", "variance", files / "edsr.pt", *crops, "-o", tmp_path, "--layer"]
    assert "names 2 layers, such as body.0.body.0" in complaint(run(*arguments, "body.0.*"))
    assert "matches no layer" in complaint(run(*arguments, "bodi"))


def test_bits(run, quantized, tmp_path):
    assert made(run, tmp_path, "bits", quantized) == ["bits.csv", "bits.png"]
    assert (tmp_path / "bits.csv").read_text().splitlines()[1] == "edsr_w4a4,head.0,8,8,"


def test_bits_of_a_float_network_are_refused(run, complaint, files, tmp_path):
    assert "edsr.pt is a float network" in complaint(run("analyse", "bits", files / "edsr.pt", "-o", tmp_path))


def test_picture_bits_need_bits_that_depend_on_the_picture(run, complaint, files, quantized, tmp_path):
    message = complaint(run("analyse", "picture-bits", quantized, files / "picture.png", "-o", tmp_path))
    assert "4.00 for all" in message


def test_distributions(run, files, quantized, crops, tmp_path):
    names = made(run, tmp_path, "distributions", files / "edsr.pt", quantized, *crops, "--layer", "body.0.*")
    assert names == ["distributions.json", "distributions.png", "percentiles.csv", "percentiles.png"]


def test_files_of_another_network_are_refused(run, complaint, files, quantized, crops, tmp_path):
    torch.save(EDSR(2, 8, 2).state_dict(), tmp_path / "other.pt")
    message = complaint(run("analyse", "distributions", tmp_path / "other.pt", quantized, *crops, "-o", tmp_path))
    assert "edsr_w4a4.safetensors (edsr x2) has other layers than" in message
    assert "give the float network that it was made of" in message


def test_clipping(run, files, tmp_path):
    shares = ["--share", 0, "--share", 0.1]
    assert made(run, tmp_path, "clipping", files / "edsr.pt", files / "picture.png", *shares) == [
        "clipping.csv",
        "clipping.png",
    ]
    assert len((tmp_path / "clipping.csv").read_text().splitlines()) == 3


def test_crops(run, files, quantized, tmp_path):
    options = ["--picture", files / "picture.png", "--engine", "torch", "--side", 16]
    assert made(run, tmp_path, "crops", files / "edsr.pt", quantized, *options) == ["crops.csv", "crops.png"]
    assert (tmp_path / "crops.csv").read_text().startswith("model,psnr_y\nedsr,\nedsr_w4a4,")


def test_an_original_of_another_size_is_refused(run, complaint, files, quantized, tmp_path):
    options = ["--picture", files / "picture.png", "--original", files / "picture.png", "-o", tmp_path]
    assert "gives 40x48" in complaint(run("analyse", "crops", quantized, *options))
