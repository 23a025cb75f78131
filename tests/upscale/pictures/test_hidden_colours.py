"""Colours under transparency never reach visible pixels, in any form of alpha and over any background."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from srquant.deploy.file.open_model import open_network
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs.one_picture import upscale_file
from srquant.upscale.pictures.hidden_colours import CELL, VisibleColours, fill_hidden
from srquant.upscale.pictures.rows import ArrayRows, Pixels
from srquant.upscale.tiles.upscale_tiles import upscale_array

RINGING = 8
"""Grey levels of 256 that a network may add at an edge of its own."""

SIDE = 48
Y, X = np.mgrid[:SIDE, :SIDE]
DISTANCE = np.hypot(X - 24, Y - 24)
SHADES = np.stack([255 - 2 * X, 60 + 3 * Y, 40 + 2 * X + 2 * Y], axis=-1).astype(np.uint8)
HARD = np.where(DISTANCE < 15, 255, 0).astype(np.uint8)
SOFT = np.clip(255 * (19 - DISTANCE) / 8, 0, 255).astype(np.uint8)

Make = Callable[[Path], Pixels]
"""Writes a cut-out to a file, and returns the colours that the opaque picture has, 8 bit."""


@pytest.fixture(scope="module")
def sharp() -> TorchEngine:
    """A trained network, which makes edges sharp; a random one would hide a halo in noise."""
    return TorchEngine(open_network(Path("edsr_small_x2")))


def rgba(opacity: Pixels, hidden: int) -> Make:
    def make(path: Path) -> Pixels:
        shown = np.where(opacity[..., None] > 0, SHADES, np.uint8(hidden))
        Image.fromarray(np.dstack([shown, opacity])).save(path)
        return SHADES

    return make


def gray(path: Path) -> Pixels:
    Image.fromarray(np.dstack([np.where(HARD > 0, SHADES[..., 0], 0), HARD])).save(path)
    return SHADES[..., :1]


def deep(path: Path) -> Pixels:
    shown = np.dstack([np.where(HARD[..., None] > 0, SHADES, 0), HARD]).astype(np.uint16) * 257
    pyvips.Image.new_from_array(shown).copy(interpretation="rgb16").write_to_file(str(path))
    return SHADES


def palette(path: Path) -> Pixels:
    picture = Image.fromarray(np.where(HARD > 0, 1, 0).astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 220, 200])
    picture.save(path, transparency=0)
    return np.broadcast_to(np.array((255, 220, 200), np.uint8), SHADES.shape)


def colour_key(path: Path) -> Pixels:
    """One colour counts as transparent; libraries expand it to alpha."""
    Image.fromarray(np.where(HARD[..., None] > 0, SHADES, 0).astype(np.uint8)).save(path, transparency=(0, 0, 0))
    return SHADES


def associated(path: Path) -> Pixels:
    """TIFF whose colours are multiplied by their opacity, under the name of a PNG file."""
    shown = pyvips.Image.new_from_array(np.dstack([SHADES, SOFT])).copy(interpretation="srgb")
    shown.write_to_file(str(path.with_suffix(".tif")), premultiply=True)
    path.with_suffix(".tif").rename(path)
    return SHADES


FORMS: dict[str, Make] = {
    "hard edge on black": rgba(HARD, 0),
    "hard edge on white": rgba(HARD, 255),
    "soft edge": rgba(SOFT, 0),
    "gray": gray,
    "16 bit": deep,
    "palette": palette,
    "colour key": colour_key,
    "multiplied by opacity": associated,
}


@pytest.mark.parametrize("form", FORMS)
def test_over_any_background_as_the_opaque_picture(sharp: TorchEngine, tmp_path: Path, form: str) -> None:
    opaque = FORMS[form](tmp_path / "in.png")
    upscale_file(sharp, tmp_path / "in.png", tmp_path / "out.png")
    result = pyvips.Image.new_from_file(str(tmp_path / "out.png")).numpy()
    white = np.iinfo(result.dtype).max
    opacity = result[..., -1:] / white
    right = upscale_array(sharp, np.ascontiguousarray(opaque)).astype(float)
    off = opacity * (255 * (result[..., :-1] / white) - right)  # the background cancels
    assert (opacity > 0.9).any()
    assert np.abs(off).max() <= RINGING, f"{(np.abs(off).max(-1) > RINGING).sum()} pixels differ"


def test_opaque_pixels_keep_their_colours() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (CELL, CELL, 4), np.uint8)
    pixels[:20, :, 3], pixels[20:, :, 3] = 255, 0
    filled = fill_hidden(pixels)
    assert np.array_equal(filled[:20], pixels[:20, :, :3])
    assert not np.array_equal(filled[20:], pixels[20:, :, :3])


def test_hidden_neighbours_get_the_mean_of_visible_ones() -> None:
    pixels = np.zeros((8, 8, 2), np.uint8)
    pixels[0, 0], pixels[0, 2] = (100, 255), (200, 255)
    filled = fill_hidden(pixels)[..., 0]
    assert filled[0, 1] == 150
    assert filled[1, 3] == 200
    assert filled[0, 0] == 100


def test_what_is_almost_hidden_counts_little() -> None:
    pixels = np.zeros((8, 8, 2), np.uint8)
    pixels[:, :4] = (200, 255)
    pixels[:, 4] = (0, 1)  # black by rounding
    assert fill_hidden(pixels)[..., 0].min() >= 180


def test_colours_far_from_anything_visible_stay() -> None:
    pixels = np.full((5 * CELL, CELL, 2), 77, np.uint8)
    pixels[..., 1] = 0
    pixels[0, 0] = (200, 255)
    filled = fill_hidden(pixels)[..., 0]
    assert (filled[2 * CELL :] == 77).all()
    assert (filled[:CELL] == 200).all()


@pytest.mark.parametrize("strip", [3, 50, 64, 200])
def test_rows_do_not_depend_on_how_they_are_read(strip: int) -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (300, 70, 4), np.uint8)
    pixels[..., 3] = np.where(random.random((300, 70)) < 0.01, 255, 0)
    pixels[80:220, :, 3] = 0
    whole = fill_hidden(pixels)
    rows = VisibleColours(ArrayRows(pixels))
    tops = range(0, 300, strip)
    np.testing.assert_array_equal(np.concatenate([rows.read(top, min(300, top + strip)) for top in tops]), whole)
