"""``srquant analyse``."""

import pytest


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
