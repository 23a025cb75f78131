"""Training pairs are numbered crops of the pictures, low and true ones of the same place."""

import shutil
import sys

import numpy as np
import pytest
import pyvips
import torch

from srquant.data.images import read_rgb
from srquant.data.pairs import PairSet
from srquant.data.resize import downscale
from srquant.errors import DatasetError, ImageError


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyvips.Image.new_from_array(image, interpretation="srgb").write_to_file(str(path))


@pytest.fixture
def folder(tmp_path):
    """Five pictures of 43x50 to 47x54 pixels."""
    for i in range(5):
        write(tmp_path / "HR" / f"{i}.png", np.random.default_rng(i).integers(0, 256, (43 + i, 50 + i, 3), np.uint8))
    return tmp_path / "HR"


@pytest.fixture
def lows(folder, tmp_path):
    """The same at half the size, each pixel one grey level darker than bicubic would have it."""
    for path in folder.iterdir():
        write(tmp_path / "LR" / f"{path.stem}x2.png", np.maximum(downscale(read_rgb(path), 2), 1) - 1)
    return tmp_path / "LR"


def forms(image):
    """All eight forms of a picture."""
    for turned in (image, image.swapaxes(0, 1)):
        yield from (turned, turned[::-1], turned[:, ::-1], turned[::-1, ::-1])


def windows(image, side, stride=1):
    """Every square of a picture and the place of its corner."""
    for top in range(0, image.shape[0] - side + 1, stride):
        for left in range(0, image.shape[1] - side + 1, stride):
            yield (top, left), image[top : top + side, left : left + side]


def places(image, crop, stride=1):
    """Where a crop, in any form, is found."""
    candidates = {form.tobytes(): i for i, form in enumerate(forms(crop))}
    for place, window in windows(image, crop.shape[0], stride):
        if window.tobytes() in candidates:
            yield place, candidates[window.tobytes()]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_low_crops_are_crops_of_the_downscaled_picture_at_the_place_of_the_true_ones(folder, scale):
    pairs = PairSet((folder,), scale, patch=8)
    for number in range(10):
        low, high = pairs.crop(number)
        found = []
        for path in sorted(folder.iterdir()):
            image = read_rgb(path)
            at_low = set(places(downscale(image, scale), low))
            at_high = {((y // scale, x // scale), form) for (y, x), form in places(image, high, scale)}
            found += at_low & at_high
        assert len(found) == 1


def test_given_low_pictures_are_used(folder, lows):
    low, high = PairSet((folder,), 2, patch=8, low=(lows,)).crop(0)
    made, same = PairSet((folder,), 2, patch=8).crop(0)
    np.testing.assert_array_equal(high, same)
    np.testing.assert_array_equal(low, np.maximum(made, 1) - 1)


def test_given_low_pictures_of_the_same_name(folder, lows):
    for path in list(lows.iterdir()):
        path.rename(lows / f"{path.stem.removesuffix('x2')}.png")
    assert {pair.low.stem for pair in PairSet((folder,), 2, 8, low=(lows,)).pairs} == {"0", "1", "2", "3", "4"}


def test_batches_have_the_promised_form(folder):
    low, high = PairSet((folder,), 3, patch=7).batch(range(4))
    assert low.shape == (4, 3, 7, 7)
    assert high.shape == (4, 3, 21, 21)
    assert low.dtype == high.dtype == torch.uint8


def test_every_picture_comes_once_before_any_comes_again(folder):
    pairs = PairSet((folder,), 2, patch=21, seed=3)
    contents = {path.name: read_rgb(path) for path in folder.iterdir()}
    orders = []
    for epoch in range(4):
        seen = []
        for number in range(5 * epoch, 5 * epoch + 5):
            crop = pairs.crop(number)[1]
            seen += [name for name, image in contents.items() if next(places(image, crop), None)]
        assert sorted(seen) == sorted(contents)
        orders.append(tuple(seen))
    assert len(set(orders)) > 1


def test_crops_depend_on_seed_and_number_alone(folder):
    first, again = PairSet((folder,), 2, 8, seed=1), PairSet((folder,), 2, 8, seed=1, memory=0)
    torch.manual_seed(5)
    assert torch.equal(first.batch([7, 3])[0], again.batch([7, 3])[0])
    assert torch.equal(first.batch([3])[1], again.batch([7, 3])[1][1:])
    assert not torch.equal(first.batch([7])[0], first.batch([12])[0])
    assert not torch.equal(first.batch([7])[0], PairSet((folder,), 2, 8, seed=2).batch([7])[0])


def test_all_eight_forms_come(folder):
    gradient = np.zeros((16, 16, 3), np.uint8)
    gradient[..., 0], gradient[..., 1] = np.mgrid[:16, :16] * 10
    shutil.rmtree(folder)
    write(folder / "gradient.png", gradient)
    pairs = PairSet((folder,), 2, patch=8)
    assert len({pairs.crop(number)[1].tobytes() for number in range(80)}) == 8


def test_pictures_are_decoded_once_while_they_fit(folder, monkeypatch):
    read = []
    module = sys.modules["srquant.data.picture_cache"]
    inner = module.read_rgb
    monkeypatch.setattr(module, "read_rgb", lambda path, most: read.append(path) or inner(path, most))
    PairSet((folder,), 2, 8).batch(range(20))
    assert len(read) == 5
    read.clear()
    pairs = PairSet((folder,), 2, 8, memory=3 * 47 * 54 * 3)
    pairs.batch(range(20))
    assert len(read) == 3 + 2 * 4
    assert pairs.pictures.bytes <= pairs.memory


def test_several_folders(folder, tmp_path):
    write(tmp_path / "more" / "0.png", np.full((30, 30, 3), 9, np.uint8))
    assert len(PairSet((folder, tmp_path / "more"), 2, 8).pairs) == 6


def test_fingerprint_follows_contents_and_all_that_decides_the_crops(folder, lows, tmp_path):
    def fingerprint(place=folder, scale=2, patch=8, seed=0, low=()):
        return PairSet((place,), scale, patch, seed, low).fingerprint

    first = fingerprint()
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == first
    assert len({first, fingerprint(scale=3), fingerprint(patch=9), fingerprint(seed=1), fingerprint(low=(lows,))}) == 5
    shutil.copy(folder / "1.png", tmp_path / "copy" / "0.png")
    assert fingerprint(tmp_path / "copy") != first


def test_a_picture_smaller_than_the_crops_is_named_with_the_largest_patch(folder):
    with pytest.raises(DatasetError, match=r"0\.png has 43x50 pixels, 21x25 at 1/2, .* 22x22: .*--patch 21"):
        PairSet((folder,), 2, 22)
    PairSet((folder,), 2, 21).batch(range(10))


def test_a_picture_smaller_than_the_scale(folder):
    write(folder / "tiny.png", np.zeros((3, 50, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"tiny\.png has 3x50 pixels, 0x12 at 1/4, .*: leave it out$"):
        PairSet((folder,), 4, 1)


def test_a_missing_partner(folder, lows):
    (lows / "3x2.png").unlink()
    with pytest.raises(DatasetError, match=r"HR/3\.png has no low-resolution version in .*LR: put 3x2\.png there"):
        PairSet((folder,), 2, 8, low=(lows,))


def test_partners_of_another_scale_are_both_named(folder, lows):
    write(lows / "3x2.png", downscale(read_rgb(folder / "3.png"), 4))
    says = r"HR/3\.png has 46x53 pixels, its low-resolution version .*LR/3x2\.png 11x13"
    with pytest.raises(DatasetError, match=says):
        PairSet((folder,), 2, 8, low=(lows,))


def test_as_many_low_folders_as_true_ones(folder, lows):
    with pytest.raises(DatasetError, match="2 folders of high-resolution pictures but 1 of low"):
        PairSet((folder, folder), 2, 8, low=(lows,))


@pytest.mark.parametrize(("name", "value"), [("scale", 1), ("patch", 0), ("seed", -1)])
def test_values_out_of_range(folder, name, value):
    with pytest.raises(DatasetError, match=f"{name} of the training set is {value}"):
        PairSet((folder,), **{"scale": 2, "patch": 8, name: value})


def test_empty_folder(tmp_path):
    with pytest.raises(DatasetError, match="contains no pictures"):
        PairSet((tmp_path,), 2)


def test_a_damaged_picture_is_named(folder):
    content = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r"2\.png"):
        PairSet((folder,), 2, 8).batch(range(5))


def test_the_limit_of_pixels_can_be_changed(folder):
    most = 47 * 54
    assert PairSet((folder,), 2, 8, most_pixels=most).batch(range(5))[0].shape == (5, 3, 8, 8)
    with pytest.raises(ImageError, match=f"54 x 47 pixels, and more than {most - 1} are not read at once"):
        PairSet((folder,), 2, 8, most_pixels=most - 1).batch(range(5))
