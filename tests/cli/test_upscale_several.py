"""Several inputs, patterns, and folders to write into."""

import json
import shutil

import pytest

from srquant.upscale.jobs.done_record import FILE_NAME


@pytest.fixture
def shots(files, tmp_path):
    """``a.png``, ``b.png`` and ``deep/c.png`` in a folder."""
    for name in ("a.png", "b.png", "deep/c.png"):
        (tmp_path / "shots" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files / "picture.png", tmp_path / "shots" / name)
    return tmp_path / "shots"


@pytest.fixture
def upscale(run, files):
    def invoke(*arguments):
        return run("upscale", files / "edsr.pt", *arguments, "--engine", "torch")

    return invoke


def written(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != FILE_NAME)


def test_pictures_and_folders(upscale, shots, tmp_path):
    inputs = [shots / "b.png", shots / "deep", shots / "a.png", shots / "a.png"]
    result = upscale(*inputs, "-o", tmp_path / "out", "--json", "-")
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "out") == ["a.png", "b.png", "deep/c.png"]
    names = [str(tmp_path / "out" / name) for name in ("b.png", "deep/c.png", "a.png")]
    assert json.loads(result.stdout)["written"] == names
    assert "0 written, 3 already done, 0 failed" in upscale(*inputs, "-o", tmp_path / "out").stdout


def test_a_pattern_is_the_folder_that_it_names(upscale, shots, tmp_path):
    assert upscale(shots, "-o", tmp_path / "folder").exit_code == 0
    assert upscale(shots / "*", "-o", tmp_path / "pattern").exit_code == 0
    assert written(tmp_path / "pattern") == written(tmp_path / "folder") == ["a.png", "b.png", "deep/c.png"]


def test_a_pattern_with_one_match_is_several(upscale, shots, tmp_path):
    result = upscale(shots / "[a]*.png", "-o", tmp_path / "out", "--format", "jpg")
    assert "1 written" in result.stdout
    assert written(tmp_path / "out") == ["a.jpg"]


def test_a_pattern_without_a_match_is_named(run, complaint, tmp_path):
    says = complaint(run("upscale", "no such network", tmp_path / "*.png", "-o", tmp_path / "out"))
    assert f"{tmp_path / '*.png'} matches no file" in says


@pytest.mark.parametrize("name", ["[a].png", "what?.png", "*.png"])
def test_names_that_look_like_patterns(upscale, shots, tmp_path, name):
    shutil.copy(shots / "a.png", shots / name)
    result = upscale(shots / name, "-o", tmp_path / "out.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.png").is_file()


def test_a_clash_is_named_and_the_others_are_done(upscale, shots, tmp_path):
    shutil.copy(shots / "a.png", shots / "deep" / "a.png")
    result = upscale(shots / "a.png", shots / "deep" / "a.png", shots / "b.png", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 written, 0 already done, 1 failed" in result.stdout
    assert f"{shots / 'deep' / 'a.png'} and {shots / 'a.png'} would both become {tmp_path / 'out' / 'a.png'}" in (
        result.stderr
    )
    assert written(tmp_path / "out") == ["a.png", "b.png"]


def test_an_empty_folder_and_a_broken_picture_stop_no_others(upscale, shots, tmp_path):
    (tmp_path / "none").mkdir()
    (shots / "a.png").write_bytes(b"")
    result = upscale(tmp_path / "none", shots / "a.png", shots / "b.png", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "1 written, 0 already done, 2 failed" in result.stdout
    assert f"{tmp_path / 'none'} contains no pictures" in result.stderr


def test_what_was_written_is_not_read_again(upscale, shots):
    for expected in ("3 written, 0 already done", "0 written, 3 already done"):
        assert expected in upscale(shots, "-o", shots / "out").stdout
    inputs = [shots / "a.png", shots]
    assert "7 written" in upscale(*inputs, "-o", shots / "more").stdout
    assert "0 written, 7 already done" in upscale(*inputs, "-o", shots / "more").stdout


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("mine", "mine is a file, but several pictures are written: give a folder, such as -o"),
        ("out.png", "out.png is the name of one picture, but several are written: give a folder, such as -o"),
    ],
)
def test_several_need_a_folder(run, shots, complaint, tmp_path, output, says):
    (tmp_path / "mine").touch()
    for inputs in ([shots / "a.png", shots / "b.png"], [shots]):
        assert says in complaint(run("upscale", "no such network", *inputs, "-o", tmp_path / output))


def test_a_folder_into_itself(run, shots, complaint, tmp_path):
    says = complaint(run("upscale", "no such network", shots, shots / "a.png", "-o", shots))
    assert "is the folder to read: write to another folder" in says


@pytest.mark.parametrize("output", ["new/", "there"])
def test_one_picture_into_a_folder(upscale, shots, tmp_path, output):
    (tmp_path / "there").mkdir()
    result = upscale(shots / "a.png", "-o", f"{tmp_path}/{output}", "--format", "webp")
    assert result.stdout == f"{tmp_path / output / 'a.webp'}\n"
    assert written(tmp_path / output) == ["a.webp"]


@pytest.mark.parametrize(
    ("output", "more", "says"),
    [
        ("out.gif", [], "out.gif: can't write .gif; use .png, .jpg"),
        ("out", [], "out: no suffix to tell the format; use .png, .jpg"),
        ("out.png", ["--format", "jpg"], "--format jpg: the name"),
        ("out.png", ["--quality", 50], "quality 50: .png has none, only .jpg, .jpeg, .webp have"),
        ("no/", ["--format", "tif", "--quality", 50], "quality 50: .tif has none"),
    ],
)
def test_formats_are_checked_before_the_network_is_loaded(run, shots, complaint, tmp_path, output, more, says):
    result = run("upscale", "no such network", shots / "a.png", "-o", f"{tmp_path}/{output}", *more)
    assert says in complaint(result)


def test_quality(upscale, shots, tmp_path):
    sizes = {}
    for quality in (10, 95, None):
        more = [] if quality is None else ["--quality", quality]
        assert upscale(shots / "a.png", "-o", tmp_path / f"{quality}.jpg", *more).exit_code == 0
        sizes[quality] = (tmp_path / f"{quality}.jpg").stat().st_size
    assert sizes[10] < sizes[95] / 2
    assert sizes[95] == sizes[None]


def test_another_quality_is_another_picture(upscale, run, complaint, shots, tmp_path):
    shutil.copy(shots / "a.png", shots / "keeps its format.tif")
    arguments = [shots, "-o", tmp_path / "out", "--format", "webp"]
    assert "4 written" in upscale(*arguments, "--quality", 50).stdout
    assert "0 written, 4 already done" in upscale(*arguments, "--quality", 50).stdout
    assert "0 written, 0 already done, 4 failed" in upscale(*arguments, "--quality", 60).stdout
    assert "4 written" in upscale(*arguments, "--quality", 60, "--overwrite").stdout
    assert "quality 50: .png, .tif has none" in complaint(
        run("upscale", "no such network", shots, "-o", tmp_path / "out", "--quality", 50)
    )
