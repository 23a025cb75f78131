"""A page of ``srquant compare`` in headless Chromium: what a person does with it, and what it then shows."""

import json

import numpy as np
import pytest
import pyvips
import torch
from typer.testing import CliRunner

from srquant.cli.app import app
from srquant.data.images import read_rgb
from srquant.measure.quality.metrics import psnr_y
from srquant.models.architectures.edsr import EDSR


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with ``page.html``, a report on two pictures with a float and a quantized network."""
    folder = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    torch.save(EDSR(1, 8, 2).state_dict(), folder / "edsr.pt")
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (120, 150, 3), np.uint8)
        picture = pyvips.Image.new_from_array(pixels, interpretation="srgb").gaussblur(1)
        for place in (folder / "calibration", folder / "Tiny" / "HR"):
            place.mkdir(parents=True, exist_ok=True)
            picture.write_to_file(str(place / f"{i}.png"))
    small = ["--input", "16x16", "--rounds", "1", "--threads", "1"]
    run(
        *[
            "quantize",
            folder / "edsr.pt",
            "--method",
            "minmax",
            "-w",
            2,
            "-a",
            2,
            "--calibration",
            folder / "calibration",
        ],
        *["--count", 2, "--patch", 24, "-o", folder / "q.safetensors"],
    )
    arguments = [folder / "q.safetensors", "--reference", folder / "edsr.pt", "--data", folder / "Tiny", *small]
    run("report", *arguments, "-o", folder / "page.html")
    return folder


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output


@pytest.fixture
def page(driver, made):
    """The page, loaded anew."""
    driver.get((made / "page.html").as_uri())
    wait_for(driver, "return document.documentElement.dataset.ready === 'yes'")
    yield driver
    assert [entry["message"] for entry in driver.get_log("browser")] == []


def wait_for(driver, script):
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(driver, 20).until(lambda _: driver.execute_script(script))


def set_value(driver, name, value, event="change"):
    script = "const e = document.getElementById(arguments[0]); e.value = arguments[1];"
    driver.execute_script(f"{script} e.dispatchEvent(new Event('{event}'));", name, str(value))


def crop(driver, version):
    """PSNR and place of a crop, from its caption and label."""
    script = (
        "const b = document.querySelectorAll('.crop')[arguments[0]];"
        "const shown = b.parentElement.querySelector('.psnr').textContent;"
        "return [b.querySelector('canvas').getAttribute('aria-label'), shown]"
    )
    label, shown = driver.execute_script(script, version)
    left, top = label.split("part at ")[1].split(" ")[:2]
    return int(left.rstrip(",")), int(top), shown


def data_of(driver):
    return json.loads(driver.execute_script("return document.getElementById('data').textContent"))


def test_psnr_under_a_crop_is_that_of_the_pixels(page, made):
    data = data_of(page)
    assert data["labels"] == ["original", "edsr", "q"]
    left, top, shown = crop(page, 2)
    box = data["pictures"][0]["boxes"][0]
    assert (left, top) == (box["left"], box["top"])
    high = read_rgb(made / "Tiny" / "HR" / "0.png")
    script = "const i = document.getElementById('picture-0-2'); return [i.naturalHeight, i.naturalWidth]"
    assert page.execute_script(script) == list(high.shape[:2])
    pixels = page.execute_script(
        "const c = document.createElement('canvas'), i = document.getElementById('picture-0-2');"
        "c.width = i.naturalWidth; c.height = i.naturalHeight; const x = c.getContext('2d'); x.drawImage(i, 0, 0);"
        "return Array.from(x.getImageData(arguments[0], arguments[1], 48, 48).data)",
        left,
        top,
    )
    part = np.array(pixels, np.uint8).reshape(48, 48, 4)[..., :3]
    expected = psnr_y(part, high[top : top + 48, left : left + 48], 0)
    assert shown == f"{expected:.2f} dB"
    assert crop(page, 0)[2] == ""


def test_another_place_another_picture_and_zoom(page):
    first = crop(page, 2)
    page.find_element("css selector", "#places button:nth-child(2)").click()
    assert crop(page, 2) != first
    box = data_of(page)["pictures"][0]["boxes"][1]
    assert crop(page, 2)[:2] == (box["left"], box["top"])
    set_value(page, "picture", 1)
    box = data_of(page)["pictures"][1]["boxes"][0]
    assert crop(page, 2)[:2] == (box["left"], box["top"])
    set_value(page, "zoom", 10, "input")
    left, top, _ = crop(page, 2)
    assert (left, top) == (box["left"] + 12, box["top"] + 12)


def test_the_overview_is_used_by_mouse_and_by_keys(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    overview = page.find_element("id", "overview")
    ActionChains(page).move_to_element(overview).click().perform()
    height, width = page.execute_script("return [arguments[0].height, arguments[0].width]", overview)
    left, top, _ = crop(page, 1)
    assert abs(left + 24 - width / 2) <= 2
    assert abs(top + 24 - height / 2) <= 2
    overview.send_keys(Keys.ARROW_LEFT, Keys.ARROW_UP)
    assert crop(page, 1)[:2] == (left - 8, top - 8)


def test_the_slider_moves_by_keys(page):
    from selenium.webdriver.common.keys import Keys

    border = page.find_element("id", "border")
    shown = "return document.getElementById('two-left').style.clipPath"
    assert "50%" in page.execute_script(shown)
    border.send_keys(Keys.HOME)
    assert "100%" in page.execute_script(shown)
    border.send_keys(Keys.END)
    assert "0%" in page.execute_script(shown)


def test_the_difference_is_of_the_two_that_are_chosen(page, made):
    set_value(page, "left", 1)
    set_value(page, "right", 2)
    floating, two_bits = (
        page.execute_script(f"return document.getElementById('two-{side}').alt") for side in ("left", "right")
    )
    assert (floating, two_bits) == ("0, edsr", "0, q")
    text = page.find_element("id", "scale-most").text
    largest = int(text.split("here: ")[1])
    most = int(text.split(" levels")[0])
    assert most / 2 < largest <= most
    set_value(page, "right", 1)
    assert page.find_element("id", "scale-most").text == "4 levels; largest difference here: 0"


def test_a_crop_opens_the_whole_picture(page):
    from selenium.webdriver.common.keys import Keys

    button = page.find_element("css selector", ".crop[data-version='1']")
    button.send_keys(Keys.ENTER)
    dialog = page.find_element("id", "whole")
    assert dialog.get_attribute("open")
    assert page.find_element("id", "whole-picture").get_attribute("alt") == "0, edsr"
    dialog.send_keys(Keys.ESCAPE)
    assert not dialog.get_attribute("open")


def test_every_picture_has_a_text_and_every_field_a_label(page):
    script = "return [...document.querySelectorAll('img')].filter(i => !i.alt && i.id !== 'whole-picture').length"
    assert page.execute_script(script) == 0
    unnamed = "[...document.querySelectorAll('canvas, svg')].filter(c => !c.getAttribute('aria-label')).length"
    assert page.execute_script(f"return {unnamed}") == 0
    assert page.execute_script("return [...document.querySelectorAll('input, select')].every(i => i.labels.length)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_light_and_dark_narrow_and_wide(page, width, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    page.refresh()
    wait_for(page, "return document.documentElement.dataset.ready === 'yes'")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    ink, paper = page.execute_script("const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]")
    assert (sum(channels(paper)) > sum(channels(ink))) == (scheme == "light")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def channels(colour):
    return [int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
