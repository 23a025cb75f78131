"""Test2K and Test4K from DIV8K's pictures, and a folder of Manga109."""

import numpy as np
import pytest
from large_sets import SETS, LargeSet, build, factor, main, pictures_of
from PIL import Image

from srquant.data.benchmark import BenchmarkSet
from srquant.data.images import read_rgb
from srquant.data.resize import downscale
from srquant.errors import InputError

TINY = LargeSet("Test2K", range(1201, 1204), 24)


def picture(path, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_the_sets_are_pictures_of_div8k():
    assert [(large.name, large.numbers[0], large.numbers[-1], len(large.numbers)) for large in SETS] == [
        ("Test2K", 1201, 1300, 100),
        ("Test4K", 1301, 1400, 100),
    ]


@pytest.mark.parametrize(
    ("size", "times"), [((4320, 7680), 4), ((3240, 5760), 3), ((5760, 3840), 3), ((1360, 2048), 1), ((400, 500), 1)]
)
def test_the_longer_side_decides_the_factor(size, times):
    assert factor(size, 1920) == times


def test_pictures_are_chosen_by_their_numbers(tmp_path):
    paths = [tmp_path / name for name in ("1200.png", "1203.png", "1201.png", "notes.png", "1202.png", "1204.png")]
    assert [path.stem for path in pictures_of(TINY, paths)] == ["1201", "1202", "1203"]
    with pytest.raises(InputError, match=r"1201 to 1203: 2 are missing, the first is 1201\.png; .*--every Test2K"):
        pictures_of(TINY, paths[3:5])


def test_a_set_is_a_benchmark_set_of_smaller_pictures(tmp_path):
    sizes = ((96, 48), (50, 73), (20, 24))
    paths = [picture(tmp_path / "DIV8K" / f"{1201 + i}.png", *size) for i, size in enumerate(sizes)]
    folder = build(TINY, pictures_of(TINY, paths), tmp_path / "sets")
    found = list(BenchmarkSet(folder, 4))
    assert [(sample.name, sample.high.shape) for sample in found] == [
        ("1201", (24, 12, 3)),
        ("1202", (16, 24, 3)),
        ("1203", (20, 24, 3)),
    ]
    assert (found[0].high == downscale(read_rgb(paths[0]), 4)).all()
    assert (found[2].high == read_rgb(paths[2])).all()


def test_what_is_there_already_stays(tmp_path):
    path = picture(tmp_path / "DIV8K" / "1201.png", 96, 48)
    there = picture(tmp_path / "sets" / "Test2K" / "HR" / "1201.png", 8, 8)
    build(TINY, [path], tmp_path / "sets")
    assert read_rgb(there).shape == (8, 8, 3)


def test_other_pictures_can_stand_for_a_set(tmp_path, monkeypatch, capsys):
    picture(tmp_path / "CLIC" / "clic_1.png", 30, 20)
    arguments = ["large_sets.py", str(tmp_path / "CLIC"), "-o", str(tmp_path / "sets")]
    monkeypatch.setattr("sys.argv", [*arguments, "--every", "Test4K"])
    assert main() == 0
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["Test4K"]
    assert "Test4K: 1 pictures" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", arguments)
    assert main() == 2
    assert "100 are missing" in capsys.readouterr().err


def test_a_folder_of_manga109_is_a_benchmark_set(tmp_path, monkeypatch):
    """Its pictures are named by their books; low-resolution ones are made where the folder has none."""
    monkeypatch.setenv("SRQUANT_CACHE", str(tmp_path / "cache"))
    for i, book in enumerate(("AisazuNihaIrarenai", "YumeiroCooking")):
        picture(tmp_path / "Manga109" / "HR" / f"{book}.png", 47 + i, 33)
    found = list(BenchmarkSet(tmp_path / "Manga109", 4))
    assert [(sample.name, sample.low.shape, sample.high.shape) for sample in found] == [
        ("AisazuNihaIrarenai", (11, 8, 3), (44, 32, 3)),
        ("YumeiroCooking", (12, 8, 3), (48, 32, 3)),
    ]
