"""Benchmark pairs: read where they exist, made and kept where they don't."""

import os
from pathlib import Path

import numpy as np
import pytest
import pyvips

from srquant.data.benchmark import BenchmarkSet
from srquant.data.images import read_rgb
from srquant.data.resize import downscale
from srquant.errors import DatasetError, ImageError

HIGH = np.random.default_rng(0).integers(0, 256, (27, 41, 3), np.uint8)


def write(path, array, interpretation="srgb"):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(np.ascontiguousarray(array), interpretation=interpretation).write_to_file(str(path))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SRQUANT_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "Tiny" / "HR" / "a.png", HIGH)
    return tmp_path / "Tiny"


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.glob("**/*") if p.is_file())


def test_existing_low_resolution_pictures_are_used(folder):
    low = np.zeros((13, 20, 3), np.uint8)
    write(folder / "LR_bicubic" / "X2" / "ax2.png", low)
    (sample,) = BenchmarkSet(folder, 2)
    np.testing.assert_array_equal(sample.low, low)
    np.testing.assert_array_equal(sample.high, HIGH[:26, :40])
    assert sample.name == "a"


def test_missing_ones_are_made_and_kept_in_the_cache(folder, tmp_path):
    (sample,) = BenchmarkSet(folder, 3)
    np.testing.assert_array_equal(sample.low, downscale(HIGH, 3))
    np.testing.assert_array_equal(sample.high, HIGH[:27, :39])
    assert files(folder) == ["HR/a.png"]
    (kept,) = files(tmp_path / "cache")
    np.testing.assert_array_equal(read_rgb(tmp_path / "cache" / kept), sample.low)
    assert (tmp_path / "cache" / kept).stat().st_mode & 0o777 == 0o666 & ~umask()


def umask():
    present = os.umask(0)
    os.umask(present)
    return present


def test_kept_pictures_are_not_made_again(folder, monkeypatch):
    (sample,) = BenchmarkSet(folder, 2)
    monkeypatch.delattr("srquant.data.benchmark.downscale")
    (again,) = BenchmarkSet(folder, 2)
    np.testing.assert_array_equal(again.low, sample.low)


def test_a_changed_true_picture_gets_a_new_low_resolution_picture(folder):
    list(BenchmarkSet(folder, 2))
    write(folder / "HR" / "a.png", 255 - HIGH)
    (sample,) = BenchmarkSet(folder, 2)
    np.testing.assert_array_equal(sample.low, downscale(255 - HIGH, 2))


def test_pictures_that_differ_in_shape_alone_are_told_apart(folder, tmp_path):
    plain = np.zeros((24, 36, 3), np.uint8)
    for name, array in (("a", plain), ("b", plain.transpose(1, 0, 2))):
        write(folder / "HR" / f"{name}.png", array)
    assert [sample.low.shape for sample in BenchmarkSet(folder, 2)] == [(12, 18, 3), (18, 12, 3)]


def test_a_damaged_picture_in_the_cache_is_made_again(folder, tmp_path):
    list(BenchmarkSet(folder, 2))
    (kept,) = files(tmp_path / "cache")
    (tmp_path / "cache" / kept).write_bytes(b"no picture")
    (sample,) = BenchmarkSet(folder, 2)
    np.testing.assert_array_equal(sample.low, downscale(HIGH, 2))
    np.testing.assert_array_equal(read_rgb(tmp_path / "cache" / kept), sample.low)


def test_nowhere_to_keep_is_no_error(folder, tmp_path):
    (tmp_path / "cache").touch()
    (sample,) = BenchmarkSet(folder, 2)
    np.testing.assert_array_equal(sample.low, downscale(HIGH, 2))


def test_a_failed_write_leaves_nothing(folder, monkeypatch):
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert len(list(BenchmarkSet(folder, 2))) == 1
    assert files(folder) == ["HR/a.png"]


def test_gray_pictures_are_replicated(folder):
    write(folder / "HR" / "a.png", HIGH[..., 0], "b-w")
    (sample,) = BenchmarkSet(folder, 2)
    for image in (sample.low, sample.high):
        np.testing.assert_array_equal(image[..., :1].repeat(3, 2), image)


def test_pairs_that_do_not_fit_are_named(folder):
    write(folder / "LR_bicubic" / "X2" / "ax2.png", HIGH[:6, :10])
    with pytest.raises(DatasetError, match=r"a\.png has 27x41 pixels, its x2 low-resolution picture 6x10: "):
        list(BenchmarkSet(folder, 2))


def test_pictures_smaller_than_the_scale_are_named(folder):
    write(folder / "HR" / "a.png", HIGH[:3, :5])
    with pytest.raises(DatasetError, match=r"a\.png has 3x5 pixels, too few for scale 4"):
        list(BenchmarkSet(folder, 4))


def test_a_folder_without_true_pictures(tmp_path):
    with pytest.raises(DatasetError, match=r"is not a benchmark set: put its high-resolution pictures into .*HR"):
        BenchmarkSet(tmp_path, 2)
    (tmp_path / "HR").mkdir()
    with pytest.raises(DatasetError, match="contains no pictures"):
        BenchmarkSet(tmp_path, 2)


def test_scale_one_is_refused(folder):
    with pytest.raises(DatasetError, match=r"scale 1 .*use 2 or more"):
        BenchmarkSet(folder, 1)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_real_sets(shared, scale):
    benchmark = BenchmarkSet(shared / "data" / "Set14", scale)
    samples = list(benchmark)
    assert (benchmark.name, len(benchmark), len(samples)) == ("Set14", 14, 14)
    assert all(s.high.shape[:2] == (scale * s.low.shape[0], scale * s.low.shape[1]) for s in samples)


@pytest.mark.parametrize("most", [HIGH.shape[0] * HIGH.shape[1] - 1, HIGH.shape[0] * HIGH.shape[1]])
def test_the_limit_of_pixels_can_be_changed(folder, most):
    pictures = BenchmarkSet(folder, 2, most)
    if most == HIGH.shape[0] * HIGH.shape[1]:
        assert next(iter(pictures)).name == "a"
        return
    with pytest.raises(ImageError, match=rf"a\.png has .* more than {most} are not read at once"):
        next(iter(pictures))
