"""``srquant report``, ``srquant compare`` and ``srquant quantize --report``."""

import json
import re

import pytest
import torch

from srquant.models.architectures.edsr import EDSR


@pytest.fixture(scope="module")
def options(files):
    return ["--data", files / "Tiny", "--input", "16x16", "--rounds", 1, "--threads", 1]


def script_data(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def test_a_page_with_numbers_pictures_layers_and_commands(run, files, quantized, options, tmp_path):
    page = tmp_path / "pages" / "report.html"
    result = run(
        "report", quantized, "--reference", files / "edsr.pt", *options, "-o", page, "--json", tmp_path / "a.json"
    )
    assert result.exit_code == 0, result.output
    text = page.read_text()
    data = script_data(text)
    assert data["labels"] == ["original", "edsr", "edsr_w4a4"]
    assert [picture["name"] for picture in data["pictures"]] == ["0", "1"]
    assert len(re.findall(r'<img id="picture-\d-\d" src="data:', text)) == 6
    assert "--method minmax --calibration LR_PICTURES -w 4 -a 4" in text
    assert text.count("<svg ") == 3
    assert "http://" not in text.replace("http://www.w3.org/", "")
    assert "https://" not in text
    floating, four_bits = json.loads((tmp_path / "a.json").read_text())["models"]
    assert (floating["bits"], four_bits["bits"], four_bits["method"]) == (None, "4 / 4", "minmax")
    scores = json.loads(run("evaluate", quantized, *options[:2], "--json", "-").stdout)
    assert four_bits["scores"][0]["psnr_y"] == scores["psnr_y"]
    assert f"<td>{scores['psnr_y']:.2f}</td>" in text
    assert four_bits["integer_share"] == 1
    assert floating["integer_share"] == 0
    assert all(layer["sensitivity"] > 0 for layer in four_bits["layers"])
    assert four_bits["milliseconds"] > 0


def test_without_the_float_network_there_is_no_sensitivity(run, files, quantized, options, tmp_path):
    page, values = tmp_path / "report.html", tmp_path / "a.json"
    result = run("report", quantized, *options, "-o", page, "--json", values)
    assert result.exit_code == 0, result.output
    (model,) = json.loads(values.read_text())["models"]
    assert {layer["sensitivity"] for layer in model["layers"]} == {None}
    assert "Sensitivity</h3>" not in page.read_text()
    assert "give the float network with --reference" in page.read_text()


def test_names_from_files_are_escaped(run, files, quantized, options, tmp_path):
    odd = tmp_path / "<b>&x.safetensors"
    odd.write_bytes(quantized.read_bytes())
    result = run("report", odd, *options, "-o", tmp_path / "report.html")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "report.html").read_text()
    assert "<b>" not in text
    assert script_data(text)["labels"] == ["original", "<b>&x"]


def test_two_models_on_a_picture(run, files, quantized, tmp_path):
    page = tmp_path / "page.html"
    small = ["--input", "16x16", "--rounds", 1, "--threads", 1]
    result = run("compare", files / "edsr.pt", quantized, files / "picture.png", "-o", page, *small)
    assert result.exit_code == 0, result.output
    data = script_data(page.read_text())
    assert data["labels"] == ["edsr", "edsr_w4a4"]
    assert data["truth"] == 0
    assert "PSNR-Y, dB" not in page.read_text().split("</thead>")[0]


def test_quantize_writes_a_page_in_the_same_go(run, files, calibration, tmp_path):
    page, target = tmp_path / "page.html", tmp_path / "q.safetensors"
    result = run("quantize", files / "edsr.pt", "--method", "minmax", *calibration, "-o", target, "--report", page)
    assert result.exit_code == 0, result.output
    assert script_data(page.read_text())["labels"] == ["edsr", "q"]
    assert len(script_data(page.read_text())["pictures"]) == 3


@pytest.mark.parametrize("name", ["page.pdf", "page"])
def test_only_html(run, complaint, files, quantized, options, name):
    assert f"-o {name.split('.')[0]}.html" in complaint(run("report", quantized, *options, "-o", name))


def test_an_existing_page_needs_overwrite(run, complaint, files, quantized, options, calibration, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert "--overwrite" in complaint(run("report", quantized, *options, "-o", page))
    arguments = ["quantize", files / "edsr.pt", *calibration, "-o", tmp_path / "q.safetensors", "--report", page]
    assert "--overwrite" in complaint(run(*arguments))
    assert page.read_text() == "mine"


def test_models_of_different_scales_are_refused(run, complaint, quantized, options, tmp_path):
    torch.save(EDSR(1, 8, 4).state_dict(), tmp_path / "x4.pt")
    message = complaint(run("report", quantized, tmp_path / "x4.pt", *options, "-o", tmp_path / "page.html"))
    assert "edsr_w4a4 x2, x4 x4" in message


def test_a_missing_picture_is_named_before_the_work(run, complaint, files, quantized, tmp_path):
    arguments = ["compare", files / "edsr.pt", quantized, tmp_path / "none.png", "-o", tmp_path / "page.html"]
    assert "none.png" in complaint(run(*arguments))
