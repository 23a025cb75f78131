import json
import logging
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


def test_what_is_left_out_is_said(run, files, tmp_path):
    source = tmp_path / "in"
    shutil.copytree(files / "calibration", source)
    shutil.copytree(files / "calibration", source / ".thumbnails")
    (source / "notes.txt").touch()
    (source / "album").symlink_to(files / "Tiny")
    result = run("upscale", files / "edsr.pt", source, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "4 written, 0 already done, 0 failed, 2 left out" in result.stdout
    assert f"left out {source / 'album'}: a link to a folder" in result.stderr
    assert f"left out {source / 'notes.txt'}: no picture by its name" in result.stderr
    assert not (tmp_path / "out" / ".thumbnails").exists()


def test_many_files_left_out_are_counted(run, files, tmp_path):
    shutil.copytree(files / "calibration", tmp_path / "in")
    for index in range(25):
        (tmp_path / "in" / f"{index}.txt").touch()
    result = run("upscale", files / "edsr.pt", tmp_path / "in", "-o", tmp_path / "out")
    assert result.stderr.count("no picture by its name") == 20
    assert "and 5 more left out" in result.stderr


def test_a_clash_of_names_is_one_failure(run, files, tmp_path):
    shutil.copytree(files / "calibration", tmp_path / "in")
    shutil.copy(files / "picture.png", tmp_path / "in" / "0.gif")
    result = run("upscale", files / "edsr.pt", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "4 written, 0 already done, 1 failed" in result.stdout
    assert "0.gif" in result.stderr
    assert result.stderr.endswith("srquant: 1 picture failed\n")


def test_names_that_are_not_utf8_are_shown_by_their_bytes(run, files, tmp_path):
    name = b"caf\xe9\x1b[31m".decode("utf-8", "surrogateescape")
    shutil.copytree(files / "calibration", tmp_path / "in")
    shutil.copy(files / "picture.png", tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / f"{name}.txt").touch()
    (tmp_path / "in" / f"broken {name}.png").touch()
    result = run("upscale", files / "edsr.pt", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1, result.output
    assert "5 written, 0 already done, 1 failed, 1 left out" in result.stdout
    assert r"caf\udce9\x1b[31m.txt: no picture" in result.stderr
    assert r"broken caf\udce9\x1b[31m.png is empty" in result.stderr


def test_name_of_one_picture_that_is_not_utf8(run, files, tmp_path):
    target = tmp_path / b"\xff.png".decode("utf-8", "surrogateescape")
    shutil.copy(files / "picture.png", target.with_name(f"in{target.name}"))
    result = run("upscale", files / "edsr.pt", target.with_name(f"in{target.name}"), "-o", target)
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("\\udcff.png\n")
    assert target.is_file()


def test_limit_of_pixels(run, files, complaint, last_complaint, tmp_path):
    arguments = ["upscale", files / "edsr.pt", files / "picture.png", "-o", tmp_path / "o.png", "--engine", "torch"]
    message = last_complaint(run(*arguments, "--max-pixels", 1919))
    assert "picture.png would become 48 x 40 pixels, more than 1919" in message
    assert "--max-pixels 0" in complaint(run(*arguments, "--max-pixels", 0))
    assert run(*arguments, "--max-pixels", 1920).exit_code == 0


def test_jpeg_without_end_needs_tolerance(run, files, last_complaint, tmp_path, monkeypatch):
    pyvips.Image.new_from_file(str(files / "picture.png")).write_to_file(str(tmp_path / "in.jpg"), interlace=True)
    (tmp_path / "in.jpg").write_bytes((tmp_path / "in.jpg").read_bytes()[:-2])
    arguments = ["upscale", files / "edsr.pt", tmp_path / "in.jpg", "-o", tmp_path / "o.png", "--engine", "torch"]
    assert "in.jpg" in last_complaint(run(*arguments))
    warned = []
    monkeypatch.setattr(logging.getLogger("srquant"), "warning", warned.append)
    assert run(*arguments, "--tolerant").exit_code == 0
    assert warned == [f"{tmp_path / 'in.jpg'} lacks its end marker; read as if it were there"]


@pytest.mark.parametrize("given", ["jpg", ".jpg", "JPG"])
def test_formats_as_people_type_them(run, files, tmp_path, given):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes((files / "picture.png").read_bytes())
    result = run("upscale", files / "edsr.pt", tmp_path / "in", "-o", tmp_path / "out", "--format", given)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "a.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_an_unknown_format_is_refused_before_the_network_is_loaded(run, files, complaint, tmp_path):
    says = complaint(run("upscale", "no such network", files, "-o", tmp_path / "out", "--format", "bpm"))
    assert "--format bpm: can't be written; use .png, .jpg" in says
    assert not (tmp_path / "out").exists()


def test_json_of_a_picture_and_of_a_folder(run, files, tmp_path):
    one = json.loads(
        run("upscale", files / "edsr.pt", files / "picture.png", "-o", tmp_path / "a.png", "--json", "-").stdout
    )
    assert one["written"] == [str(tmp_path / "a.png")]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes((files / "picture.png").read_bytes())
    (tmp_path / "in" / "b.png").touch()
    result = run("upscale", files / "edsr.pt", tmp_path / "in", "-o", tmp_path / "out", "--json", "-")
    several = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (several["written"], several["already_done"], several["left_out"]) == (
        [str(tmp_path / "out" / "a.png")],
        [],
        {},
    )
    assert "is empty" in several["failed"][str(tmp_path / "in" / "b.png")]
    for value in (one, several):
        assert 0 < value["seconds"] < 600
        assert value["peak_rss_mb"] > 50
