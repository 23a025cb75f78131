"""Calibration crops are seeded, lazily read and of the pictures."""

import shutil

import numpy as np
import pytest
import pyvips
import torch

from srquant.data import picture_cache
from srquant.data.calibration import CalibrationSet
from srquant.data.images import read_rgb
from srquant.errors import DatasetError, ImageError


@pytest.fixture
def folder(tmp_path):
    """Ten pictures; picture i has the value i in its red channel and its pixels' places in green and blue."""
    rows, columns = np.mgrid[:24, :31]
    (tmp_path / "lr").mkdir()
    for i in range(10):
        image = np.stack([np.full_like(rows, i), rows, columns], axis=2).astype(np.uint8)
        pyvips.Image.new_from_array(image, interpretation="srgb").write_to_file(str(tmp_path / "lr" / f"{i}.png"))
    return tmp_path / "lr"


def crops(chosen, size=4, epoch=0):
    return torch.cat(list(chosen.batches(size, epoch)))


def test_batches_have_the_promised_form(folder):
    batches = list(CalibrationSet(folder, count=10, patch=16).batches(4))
    assert [b.shape for b in batches] == [(4, 3, 16, 16), (4, 3, 16, 16), (2, 3, 16, 16)]
    assert all(b.dtype == torch.float32 and b.is_contiguous() for b in batches)
    assert all(b.min() >= 0 and b.max() <= 1 for b in batches)


def test_each_chosen_picture_gives_one_crop(folder):
    chosen = CalibrationSet(folder, count=7, patch=8)
    red = (crops(chosen)[:, 0] * 255).round().int()
    assert sorted(r.unique().item() for r in red) == sorted(int(p.stem) for p in chosen.files)


def test_crops_are_windows_mirrored_or_transposed(folder):
    seen = set()
    for epoch in range(20):
        for crop in (crops(CalibrationSet(folder, count=10, patch=8), epoch=epoch) * 255).round().int():
            rows, columns = crop[1], crop[2]
            transposed = bool(rows[0, 0] != rows[0, 1])
            rows, columns = (rows.T, columns.T) if transposed else (rows, columns)
            down, right = rows[1, 0] - rows[0, 0], columns[0, 1] - columns[0, 0]
            steps = torch.arange(8, dtype=torch.int32)
            assert torch.equal(rows, (rows[0, 0] + down * steps)[:, None].expand(8, 8))
            assert torch.equal(columns, (columns[0, 0] + right * steps)[None].expand(8, 8))
            seen.add((int(down), int(right), transposed))
    assert len(seen) == 8  # every mirroring and transposition


def test_crops_as_they_are(folder):
    """The same windows, neither mirrored nor turned."""
    plain, formed = (CalibrationSet(folder, count=10, patch=8, augmented=augmented) for augmented in (False, True))
    pairs = list(zip(crops(plain), crops(formed), strict=True))
    assert any(not torch.equal(a, b) for a, b in pairs)
    for a, b in pairs:
        forms = [torch.rot90(side, k, (1, 2)) for side in (a, a.flip(2)) for k in range(4)]
        assert any(torch.equal(form, b) for form in forms)


def test_the_same_seed_and_epoch_give_the_same_crops(folder):
    first, again = CalibrationSet(folder, 10, seed=3, patch=8), CalibrationSet(folder, 10, seed=3, patch=8)
    assert torch.equal(crops(first, epoch=2), crops(again, epoch=2))
    assert not torch.equal(crops(first, epoch=2), crops(first, epoch=1))
    assert not torch.equal(crops(first, epoch=2), crops(CalibrationSet(folder, 10, seed=4, patch=8), epoch=2))


def test_crops_do_not_depend_on_the_batch_size(folder):
    chosen = CalibrationSet(folder, 10, patch=8)
    assert torch.equal(crops(chosen, size=1), crops(chosen, size=10))


def test_a_stream_goes_on_over_epochs_in_full_batches(folder):
    calibration = CalibrationSet(folder, count=5, patch=8)
    crops = torch.cat([images for epoch in range(3) for images in calibration.batches(5, epoch)])
    batches = list(calibration.stream(4, 3))
    assert [len(images) for images in batches] == [4, 4, 4]
    assert torch.equal(torch.cat(batches), crops[:12])
    (only,) = calibration.stream(32, 3)
    assert torch.equal(only, crops)


def test_global_random_state_is_neither_read_nor_changed(folder):
    chosen = CalibrationSet(folder, 10, patch=8)
    expected = crops(chosen)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    assert torch.equal(crops(chosen), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_are_read_when_their_batch_is_made(folder, monkeypatch):
    chosen = CalibrationSet(folder, 10, patch=8)
    read = []
    inner = picture_cache.read_rgb
    monkeypatch.setattr(picture_cache, "read_rgb", lambda path, most: read.append(path) or inner(path, most))
    batches = chosen.batches(3)
    assert not read
    next(batches)
    assert len(read) == 3
    list(batches)
    list(chosen.batches(3, epoch=1))
    assert sorted(read) == sorted(chosen.files), "each picture is read once"


def test_the_choice_is_seeded(folder):
    choices = {CalibrationSet(folder, 3, seed=s, patch=8).files for s in range(20)}
    assert len(choices) > 5
    assert all(len(set(c)) == 3 for c in choices)


def test_fingerprint_follows_contents_seed_and_patch_but_not_the_place(folder, tmp_path):
    def fingerprint(place=folder, seed=0, patch=8):
        return CalibrationSet(place, 10, seed, patch).fingerprint()

    first = fingerprint()
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == first
    assert len({first, fingerprint(seed=1), fingerprint(patch=9)}) == 3
    shutil.copy(folder / "1.png", tmp_path / "copy" / "0.png")
    assert fingerprint(tmp_path / "copy") != first


def test_too_few_pictures(folder):
    with pytest.raises(DatasetError, match=r"contains 10 pictures but 11 are needed: .*--count 10"):
        CalibrationSet(folder, 11)


def test_no_pictures(tmp_path):
    with pytest.raises(DatasetError, match="contains no pictures"):
        CalibrationSet(tmp_path)


def test_a_picture_smaller_than_the_crops_is_named(folder):
    with pytest.raises(DatasetError, match=r"\d\.png has 24x31 pixels, .* 25x25: .*--patch 24"):
        CalibrationSet(folder, 10, patch=25)


def test_crops_of_the_whole_picture(folder):
    assert crops(CalibrationSet(folder, 10, patch=24)).shape == (10, 3, 24, 24)


@pytest.mark.parametrize(("name", "value"), [("count", 0), ("seed", -1), ("patch", 0)])
def test_values_out_of_range(folder, name, value):
    with pytest.raises(DatasetError, match=f"{name} of the calibration set is {value}"):
        CalibrationSet(folder, **{"count": 10, "patch": 8, name: value})


def test_a_damaged_picture_is_named(folder):
    content = (folder / "5.png").read_bytes()
    (folder / "5.png").write_bytes(content[:-30])
    with pytest.raises(ImageError, match=r"5\.png"):
        crops(CalibrationSet(folder, 10, patch=8))


def test_the_same_picture_over_and_over(folder):
    for path in sorted(folder.iterdir())[1:]:
        shutil.copy(folder / "0.png", path)
    with pytest.raises(DatasetError, match=r"all 10 calibration pictures are the same as .*0\.png"):
        CalibrationSet(folder, 10, patch=8)
    CalibrationSet(folder, 1, patch=8)


def test_the_same_picture_in_other_files(folder):
    image = pyvips.Image.new_from_file(str(folder / "0.png")).copy_memory()
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()
        image.write_to_file(str(path.with_suffix(".tif")))
    with pytest.raises(DatasetError, match="all 10 calibration pictures are the same"):
        CalibrationSet(folder, 10, patch=8)


def test_pictures_of_one_colour(tmp_path):
    for i, colour in enumerate([(0, 0, 0), (255, 255, 255), (9, 80, 7)]):
        image = np.broadcast_to(np.array(colour, np.uint8), (12, 14, 3))
        pyvips.Image.new_from_array(image, interpretation="srgb").write_to_file(str(tmp_path / f"{i}.png"))
    for count in (1, 3):
        with pytest.raises(DatasetError, match=r"every calibration picture in .* has a single colour"):
            CalibrationSet(tmp_path, count, patch=8)


def test_one_picture_with_colours_is_enough(folder):
    blank = np.zeros((24, 31, 3), np.uint8)
    for i in range(9):
        pyvips.Image.new_from_array(blank + i, interpretation="srgb").write_to_file(str(folder / f"{i}.png"))
    CalibrationSet(folder, 10, patch=8)


def test_a_picture_with_pixels_that_are_not_a_number(folder):
    pixels = np.random.default_rng(0).random((24, 31, 3)).astype(np.float32)
    pixels[:, :, 1] = np.nan
    (folder / "5.png").unlink()
    pyvips.Image.new_from_array(pixels, interpretation="srgb").write_to_file(str(folder / "5.tif"))
    with pytest.raises(ImageError, match=r"5\.tif has pixels that are not a finite number"):
        crops(CalibrationSet(folder, 10, patch=8))


def test_the_limit_of_pixels_can_be_changed(folder):
    side = max(read_rgb(path).shape[0] * read_rgb(path).shape[1] for path in folder.iterdir())
    assert next(CalibrationSet(folder, 10, patch=8, most_pixels=side).batches(10)).shape == (10, 3, 8, 8)
    with pytest.raises(ImageError, match="--max-pixels"):
        CalibrationSet(folder, 10, patch=8, most_pixels=1)
    with pytest.raises(ImageError, match=f"more than {side - 1} are not read at once"):
        list(CalibrationSet(folder, 10, patch=8, most_pixels=side - 1).batches(10))
