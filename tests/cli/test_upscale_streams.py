"""A picture from stdin, and one to stdout."""

import errno
import io
import os
import sys
from types import SimpleNamespace

import pytest
import pyvips
from typer.testing import CliRunner

from srquant.cli import stdout, upscale_streams
from srquant.cli.app import app


@pytest.fixture
def upscale(files):
    """Run the command with something in stdin."""

    def invoke(*arguments, stdin=b"", model="edsr.pt"):
        command = ["upscale", str(files / model), *map(str, arguments), "--engine", "torch"]
        return CliRunner().invoke(app, command, input=stdin)

    return invoke


@pytest.fixture
def expected(upscale, files, tmp_path):
    """The picture in the usual way."""
    assert upscale(files / "picture.png", "-o", tmp_path / "expected.png").exit_code == 0
    return (tmp_path / "expected.png").read_bytes()


def test_from_stdin_to_a_file(upscale, files, tmp_path, expected):
    result = upscale("-", "-o", tmp_path / "out.png", stdin=(files / "picture.png").read_bytes())
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'out.png'}\n")
    assert (tmp_path / "out.png").read_bytes() == expected


def test_nothing_but_the_picture_goes_to_stdout(files, expected, capfdbinary):
    command = ["upscale", files / "edsr.pt", files / "picture.png", "-o", "-", "--engine", "torch"]
    app([str(argument) for argument in command], standalone_mode=False)
    assert capfdbinary.readouterr().out == expected


@pytest.mark.parametrize(("more", "loader"), [([], "png"), (["--format", "jpg", "--quality", 40], "jpeg")])
def test_format_of_stdout(upscale, files, tmp_path, more, loader):
    result = upscale(files / "picture.png", "-o", "-", "--json", tmp_path / "o.json", *more)
    assert result.exit_code == 0, result.output
    image = pyvips.Image.new_from_buffer(result.stdout_bytes, "")
    assert (image.width, image.height, image.get("vips-loader")) == (48, 40, f"{loader}load_buffer")
    assert '"written": [\n    "-"\n  ]' in (tmp_path / "o.json").read_text()


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        (b"", "srquant: stdin is empty: send a picture, as in: srquant upscale MODEL - -o out.png < in.png"),
        (b"hello", "srquant: can't read stdin as a picture (it is none of PNG"),
        (b"\x89PNG\r\n\x1a\n", "srquant: can't read stdin as a picture ("),
    ],
    ids=["empty", "text", "cut"],
)
def test_no_picture_in_stdin(upscale, complaint, stdin, says, tmp_path):
    assert complaint(upscale("-", "-o", tmp_path / "o.png", stdin=stdin, model="none")).startswith(says)
    assert complaint(upscale("-", "-o", "-", stdin=stdin, model="none")).startswith(says)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-", "calibration", "-o", "out"), "- (stdin) is one picture: give it alone"),
        (("-", "-o", "out/"), "- (stdin) has no name: name the file to write, such as -o out/large.png"),
        (("picture.png", "-o", "-", "--json", "-"), "-o - and --json -: both would be written to stdout"),
        (("calibration", "-o", "-"), "-o - (stdout) takes one picture"),
        (("picture.png", "Tiny/HR/0.png", "-o", "-"), "-o - (stdout) takes one picture"),
        (("calibration/*.png", "-o", "-"), "-o - (stdout) takes one picture"),
        (("picture.png", "-o", "-", "--quality", "9"), "quality 9: .png has none"),
    ],
    ids=["beside", "folder", "json", "several in a folder", "several", "pattern", "quality"],
)
def test_what_streams_can_not_do(upscale, files, complaint, monkeypatch, arguments, says):
    monkeypatch.chdir(files)
    assert says in complaint(upscale(*arguments, stdin=b"any", model="none"))


@pytest.mark.parametrize(
    ("stream", "check", "says"),
    [
        ("stdin", lambda: upscale_streams.check_streams(["-"], "o.png", None), "terminal or closed: send a picture"),
        ("stdout", lambda: upscale_streams.check_streams(["a"], "-", None), "terminal: send it to a file"),
    ],
)
def test_terminals_are_refused(monkeypatch, stream, check, says):
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, stream, terminal)
    with pytest.raises(ValueError, match=says):
        check()


def test_stdout_without_room(upscale, files, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stdout, "shutil", SimpleNamespace(copyfileobj=full))
    result = upscale(files / "picture.png", "-o", "-")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("srquant: can't print to stdout: No space left on device")


def test_a_file_with_the_name_of_a_stream(upscale, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes((files / "picture.png").read_bytes())
    assert upscale("./-", "-o", "out.png").exit_code == 0
