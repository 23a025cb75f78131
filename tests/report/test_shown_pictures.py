import base64
import io

import numpy as np
from PIL import Image

from srquant.report import shown_pictures
from srquant.report.shown_pictures import Picture, data_uri, how_many, shown_picture


def decoded(uri):
    kind, content = uri.split(";base64,")
    assert kind == "data:image/webp"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))


def random_picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_pictures_are_kept_without_loss():
    picture = random_picture(33, 17)
    assert (decoded(data_uri(picture)) == picture).all()


def test_without_libvips_pictures_are_png(monkeypatch):
    monkeypatch.setattr("srquant.data.vips.WORKS", False)
    assert data_uri(random_picture(5, 6)).startswith("data:image/png;base64,")


def test_a_large_picture_is_cut_to_where_its_versions_differ(monkeypatch):
    monkeypatch.setattr(shown_pictures, "LARGEST", 40)
    truth = random_picture(30, 100)
    first, second = truth.copy(), truth.copy()
    second[12, 85] = 255 - second[12, 85]
    first[0, 0] = 255 - first[0, 0]
    shown = shown_picture(Picture("a", (truth, first, second), (1, 2)))
    assert (shown.height, shown.width) == (30, 40)
    assert shown.part in {f"30x40 at row 0, column {left}" for left in range(61)}
    left = int(shown.part.split()[-1])
    assert (decoded(shown.versions[2]) == second[:, left : left + 40]).all()
    assert left >= 0 or left >= 46


def test_a_small_picture_is_whole():
    pictures = tuple(random_picture(50, 60, seed) for seed in range(3))
    shown = shown_picture(Picture("a", pictures, (0, 1, 2)))
    assert (shown.height, shown.width, shown.part) == (50, 60, None)
    assert all((decoded(uri) == picture).all() for uri, picture in zip(shown.versions, pictures, strict=True))
    assert len(shown.boxes) == 1


def test_a_page_shows_what_it_can_hold_and_at_least_one_picture():
    assert how_many([(500, 500)] * 50, 4) == 8
    assert how_many([(500, 500)] * 3, 4) == 3
    assert how_many([(5000, 5000)] * 3, 100) == 1
