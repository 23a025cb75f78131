"""Bicubic against MATLAB's own pictures: the low-resolution folders of the benchmark sets."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from srquant.data.find import list_images
from srquant.data.images import read_rgb
from srquant.data.resize import downscale, downscale_window, resize, upscale
from srquant.errors import InputError

pictures = st.tuples(st.integers(1, 20), st.integers(1, 20)).flatmap(lambda s: arrays(np.uint8, (*s, 3)))


def pair(folder: Path, high: Path, scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return read_rgb(high), read_rgb(folder / "LR_bicubic" / f"X{scale}" / f"{high.stem}x{scale}.png")


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_matlab_pictures_are_reproduced_exactly(shared, name, scale):
    folder = shared / "data" / name
    for path in list_images(folder / "HR"):
        high, low = pair(folder, path, scale)
        np.testing.assert_array_equal(downscale(high, scale), low, err_msg=path.name)


def shrink_replicating_edges(high: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """What lies beyond an edge equals the edge, where ``downscale`` mirrors."""
    beyond = 4
    padded = np.pad(high, ((beyond * scale,) * 2, (beyond * scale,) * 2, (0, 0)), mode="edge")
    return downscale(padded, scale)[beyond:-beyond, beyond:-beyond]


@pytest.mark.parametrize(("name", "scale"), [("B100", 2), ("B100", 4), ("Urban100", 4)])
def test_pictures_of_selfexsr_differ_by_the_boundary_rule_alone(shared, name, scale):
    """Made with edges replicated: only the outer two pixels differ from ours, 0.3 to 2.5 % of all."""
    folder = shared / "data" / name
    for path in list_images(folder / "HR")[:20]:
        high, low = pair(folder, path, scale)
        ours = downscale(high, scale)
        np.testing.assert_array_equal(ours[2:-2, 2:-2], low[2:-2, 2:-2], err_msg=path.name)
        np.testing.assert_array_equal(shrink_replicating_edges(high, scale), low, err_msg=path.name)
        assert np.mean(ours == low) > 0.97


@given(pictures)
def test_same_size_changes_nothing(image):
    np.testing.assert_array_equal(resize(image, *image.shape[:2]), image)


@settings(max_examples=30)
@given(st.integers(0, 255), st.tuples(*[st.integers(1, 30)] * 4))
def test_flat_pictures_stay_flat(value, sizes):
    height, width, new_height, new_width = sizes
    flat = np.full((height, width, 3), value, np.uint8)
    np.testing.assert_array_equal(resize(flat, new_height, new_width), np.full((new_height, new_width, 3), value))


@settings(max_examples=30)
@given(pictures, st.integers(2, 4))
def test_mirrored_pictures_give_mirrored_results(image, scale):
    mirrored = upscale(image[:, ::-1], scale)[:, ::-1]
    assert np.abs(mirrored.astype(int) - upscale(image, scale)).max() <= 1  # sums in another order: ties may flip


def test_gray_plane_equals_a_channel():
    image = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    np.testing.assert_array_equal(resize(image[..., 1], 7, 30), resize(image, 7, 30)[..., 1])


def test_shrinking_crops_to_a_multiple_of_the_scale():
    image = np.random.default_rng(0).integers(0, 256, (14, 17, 3), np.uint8)
    np.testing.assert_array_equal(downscale(image, 4), downscale(image[:12, :16], 4))


def test_nothing_to_resize_is_an_error():
    with pytest.raises(InputError, match="use at least 1x1"):
        downscale(np.zeros((3, 9, 3), np.uint8), 4)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 4), st.integers(0, 2**32 - 1), st.data())
def test_a_window_equals_the_crop_of_the_whole(scale, seed, data):
    height, width = (data.draw(st.integers(scale, 60)) for _ in range(2))
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    low = downscale(image, scale)
    top, left = (data.draw(st.integers(0, size - 1)) for size in low.shape[:2])
    rows, columns = data.draw(st.integers(1, low.shape[0] - top)), data.draw(st.integers(1, low.shape[1] - left))
    window = downscale_window(image, scale, top, left, rows, columns)
    np.testing.assert_array_equal(window, low[top : top + rows, left : left + columns])
