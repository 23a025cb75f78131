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
    assert names == ["distributions.json", "distributions.png", "percentiles.csv", "percentiles.png", "pictures.png"]


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


def test_progress(run, files, crops, tmp_path):
    methods = ["--method", "gba:mixed=none:epochs=1", "--method", "minmax"]
    names = made(run, tmp_path, "progress", files / "edsr.pt", *crops, "--data", files / "Tiny", *methods)
    assert names == ["progress.csv", "progress.json", "progress.png"]
    rows = [row.split(",")[:3] for row in (tmp_path / "progress.csv").read_text().splitlines()[1:]]
    label = "gba:mixed=none:epochs=1"
    assert rows == [
        [label, "start", "0"],
        [label, '"bounds', ' pass 1/1"'],
        [label, "result", "1"],
        ["minmax", "result", "0"],
    ]


@pytest.mark.parametrize(
    ("method", "says"),
    [("gbba", "no method is called 'gbba'; did you mean 'gba'"), ("gba:epoks=1", "no option is called 'epoks'")],
)
def test_methods_are_checked_before_the_work(run, complaint, files, crops, tmp_path, method, says):
    arguments = [files / "edsr.pt", *crops, "--data", files / "Tiny", "--method", "minmax", "--method", method]
    assert says in complaint(run("analyse", "progress", *arguments, "-o", tmp_path))


def test_features(run, files, quantized, tmp_path):
    models = [files / "edsr.pt", quantized, "--picture", files / "picture.png"]
    assert made(run, tmp_path, "features", *models) == ["features.csv", "features.png"]
    assert (tmp_path / "features.csv").read_text().splitlines()[1].endswith(",1")


@pytest.fixture(scope="module")
def quantsr(run, files, tmp_path_factory):
    """Folder of a finished run of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "quantsr"
    pictures = ["--init", files / "edsr.pt", "--hr", files / "Tiny" / "HR", "--device", "cpu"]
    short = ["--steps", 2, "--batch", 2, "--patch", 12, "--log-every", 1, "-w", 2, "-a", 3, "--override", "body.1=4/4"]
    result = run("train", "--method", "quantsr", *pictures, *short, "-o", folder)
    assert result.exit_code == 0, result.output
    return folder


def test_steps_and_gradients_of_a_run(run, files, quantsr, tmp_path):
    assert made(run, tmp_path / "s", "steps", quantsr) == ["steps.csv", "steps.png"]
    start = ["--init", files / "edsr.pt", "--hr", files / "Tiny" / "HR"]
    assert made(run, tmp_path / "g", "gradients", quantsr, *start) == ["gradients.csv", "gradients.png"]
    rows = (tmp_path / "g" / "gradients.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [
        "body.0.block.body.0",
        "body.0.block.body.2",
        "body.1",
    ]


def test_a_run_that_started_from_something_else_is_refused(run, complaint, files, quantsr, tmp_path):
    torch.save(EDSR(1, 8, 2).state_dict(), tmp_path / "other.pt")
    other = ["--init", tmp_path / "other.pt", "--hr", files / "Tiny" / "HR"]
    assert "started from other weights" in complaint(run("analyse", "gradients", quantsr, *other, "-o", tmp_path))
    other = ["--init", files / "edsr.pt", "--hr", files / "calibration"]
    assert "learned from other pictures" in complaint(run("analyse", "gradients", quantsr, *other, "-o", tmp_path))


@pytest.mark.parametrize("analysis", ["steps", "gradients"])
def test_a_folder_without_a_run_is_named(run, complaint, files, tmp_path, analysis):
    more = ["--init", files / "edsr.pt", "--hr", files / "Tiny" / "HR"] if analysis == "gradients" else []
    assert str(tmp_path) in complaint(run("analyse", analysis, tmp_path, *more, "-o", tmp_path / "r"))
