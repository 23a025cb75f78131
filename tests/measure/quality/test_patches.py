"""Patches cover every pixel once, and nothing is lost between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srquant.errors import ImageError
from srquant.measure.quality.patches import in_patches, spans


@given(st.integers(1, 700), st.integers(1, 120))
def test_spans_tile_the_axis_exactly_once(length, patch):
    pieces = spans(length, patch)
    assert [i for start, stop in pieces for i in range(start, stop)] == list(range(length))
    assert all(stop - start == patch for start, stop in pieces[:-1])
    start, stop = pieces[-1]
    assert stop - start < 2 * patch
    assert stop - start >= min(patch, length)


def test_the_last_patch_swallows_the_remainder():
    assert spans(287, 96) == [(0, 96), (96, 287)]
    assert spans(288, 96) == [(0, 96), (96, 192), (192, 288)]
    assert spans(50, 96) == [(0, 50)]


@given(st.integers(1, 300), st.integers(1, 300))
def test_pasting_back_is_lossless(height, width):
    image = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    seen = []
    result = in_patches(lambda x: seen.append(x.size) or x, scale=1)(image)
    np.testing.assert_array_equal(result, image)
    assert sum(seen) == image.size


def test_patches_land_in_their_places():
    image = np.random.default_rng(0).integers(0, 256, (23, 31, 3), np.uint8)

    def nearest(x):
        return x.repeat(3, 0).repeat(3, 1)

    np.testing.assert_array_equal(in_patches(nearest, scale=3, patch=7)(image), nearest(image))


def test_each_patch_is_upscaled_alone():
    shapes = []
    in_patches(lambda x: shapes.append(x.shape[:2]) or x, scale=1, patch=10)(np.zeros((25, 20, 3), np.uint8))
    assert shapes == [(10, 10), (10, 10), (15, 10), (15, 10)]


def test_a_patch_of_nothing_is_refused():
    with pytest.raises(ImageError, match="patches of 0 pixels"):
        spans(10, 0)
