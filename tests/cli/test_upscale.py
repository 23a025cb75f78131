import shutil

import numpy as np
import pytest
import pyvips


def pixels(path):
    return pyvips.Image.new_from_file(str(path)).numpy()


@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_picture(run, files, quantized, tmp_path, engine):
    target = tmp_path / "out.png"
    result = run("upscale", quantized, files / "picture.png", "-o", target, "--engine", engine)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{target}\n"
    assert pixels(target).shape == (40, 48, 3)


def test_tiles_give_the_same_picture(run, files, tmp_path):
    for tile in ("auto", "8"):
        run("upscale", files / "edsr.pt", files / "picture.png", "-o", tmp_path / f"{tile}.png", "--tile", tile)
    assert np.array_equal(pixels(tmp_path / "auto.png"), pixels(tmp_path / "8.png"))


def test_folder_goes_on_and_tells_failures(run, files, tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    shutil.copytree(files / "calibration", source)
    (source / "broken.png").write_bytes(b"no picture")
    first = run("upscale", files / "edsr.pt", source, "-o", target)
    assert first.exit_code == 1
    assert "4 written, 0 already done, 1 failed" in first.stdout
    assert "broken.png" in first.stderr
    (source / "broken.png").unlink()
    second = run("upscale", files / "edsr.pt", source, "-o", target)
    assert second.exit_code == 0
    assert "0 written, 4 already done, 0 failed" in second.stdout


def test_existing_output_needs_overwrite(run, files, last_complaint, tmp_path):
    (tmp_path / "out.png").write_text("mine")
    arguments = ["upscale", files / "edsr.pt", files / "picture.png", "-o", tmp_path / "out.png", "--engine", "torch"]
    assert "--overwrite" in last_complaint(run(*arguments))
    assert run(*arguments, "--overwrite").exit_code == 0


@pytest.mark.parametrize("tile", ["0", "-4", "huge"])
def test_tile_must_be_a_size(run, files, complaint, tmp_path, tile):
    arguments = ["upscale", files / "edsr.pt", files / "picture.png", "-o", tmp_path / "o.png", "--tile", tile]
    assert "--tile" in complaint(run(*arguments))


def test_missing_picture(run, files, complaint, tmp_path):
    assert "doesn't exist" in complaint(
        run("upscale", files / "edsr.pt", tmp_path / "no.png", "-o", tmp_path / "o.png")
    )


def test_empty_folder(run, files, last_complaint, tmp_path):
    (tmp_path / "in").mkdir()
    result = run("upscale", files / "edsr.pt", tmp_path / "in", "-o", tmp_path / "out", "--engine", "torch")
    assert "contains no pictures" in last_complaint(result)


def test_truncated_picture(run, files, last_complaint, tmp_path):
    whole = (files / "picture.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    result = run("upscale", files / "edsr.pt", tmp_path / "cut.png", "-o", tmp_path / "o.png", "--engine", "torch")
    assert "cut.png" in last_complaint(result)
    assert not (tmp_path / "o.png").exists()
