"""Nothing that a file or a name holds reaches the terminal as a command."""

import json

import pytest
import torch
import typer
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from srquant.cli.output import fail, note, show, table
from srquant.cli.plain_text import one_line, plain
from srquant.deploy.file.save_load import checksum

ESCAPES = {
    "\x1b[31mred\x1b[0m": "\\x1b[31mred\\x1b[0m",
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "\x9b31m": "\\x9b31m",
    "a\rb\x08": "a\\rb\\x08",
    "gnp\u202e.exe": "gnp\\u202e.exe",
    "name\udcff": "name\\udcff",
    "Grüße, 東京 \N{GRINNING FACE}\t": "Grüße, 東京 \N{GRINNING FACE}\t",
}


@pytest.mark.parametrize(("text", "shown"), ESCAPES.items(), ids=range(len(ESCAPES)))
def test_control_characters_become_escapes(text, shown):
    assert plain(f"{text}\n") == f"{shown}\n"
    assert one_line(f"{text}\n") == f"{shown}\\n"


@pytest.mark.parametrize("terminal", ["0", "1"])
def test_tables_texts_and_messages(capsys, monkeypatch, terminal):
    monkeypatch.setenv("FORCE_COLOR", terminal)
    rows = table("layer", "bits", title="\x1b]0;title\x07")
    rows.add_row("\x1b[2Jbody [red]:smile:", "\x1b[31m4")
    show(rows, "made by \x1b[2J\x9b2J")
    note("picture \x1b[2J\x07")
    with pytest.raises(typer.Exit):
        fail("layer \x1b[2J\nsrquant: fine", 2)
    out, err = capsys.readouterr()
    assert "\x1b[2J" not in out + err
    assert "\x1b]0" not in out
    assert "\x1b[31m4" not in out
    assert "\x9b" not in out
    assert "\\x1b[2Jbody [red]:smile:" in out
    assert "made by \\x1b[2J\\x9b2J\n" in out
    assert err == "picture \\x1b[2J\\x07\nsrquant: layer \\x1b[2J\\nsrquant: fine\n"


def test_info_of_a_file_with_escapes(run, quantized, tmp_path):
    with safe_open(quantized, "pt") as file:
        header = json.loads(file.metadata()["srquant"])
    header["origin"]["method"] = "\x1b]52;c;clip\x07"
    header["origin"]["options"] = {"\x1b[8m": "\x1b[2J", "lone \ud800": 1}
    tensors, text = load_file(quantized), json.dumps(header)
    del tensors["sha256"]
    save_file({**tensors, "sha256": checksum(text, tensors)}, tmp_path / "net.safetensors", {"srquant": text})
    result = run("info", tmp_path / "net.safetensors")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "quantized by \\x1b]52;c;clip (\\x1b[8m \\x1b[2J, lone \\ud800 1)" in result.output


def test_names_of_weights_in_errors(run, complaint, tmp_path):
    torch.save({"\x1b[2Jweight\x07": torch.ones(3)}, tmp_path / "net.pt")
    message = complaint(run("info", tmp_path / "net.pt"))
    assert "\x1b" not in message
    assert "\\x1b[2Jweight\\x07" in message
