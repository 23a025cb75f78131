import pytest
import torch

from srquant.models.blocks.rectangles import Cut, MergeRectangles, RectangleMask, SplitRectangles, merge, split

CUTS = {
    "wide": Cut((2, 4), (0, 0), 4),
    "high": Cut((4, 2), (0, 0), 4),
    "moved": Cut((2, 4), (1, 2), 4),
    "moved, high": Cut((4, 2), (2, 1), 4),
    "no common side": Cut((2, 3), (1, 1), 6),
}
SIZES = [(8, 12), (7, 9), (1, 1), (4, 5), (12, 6)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_pixels_come_back_to_their_place(cut, size):
    x = torch.rand(2, *size, 3)
    windows = SplitRectangles(cut)(x)
    height, width = (-(-length // cut.multiple) * cut.multiple for length in size)
    assert cut.extended(*size) == (height, width)
    tokens = cut.window[0] * cut.window[1]
    assert windows.shape == (2 * height * width // tokens, tokens, 3)
    assert torch.equal(MergeRectangles(cut)(windows, x), x)


def test_what_is_added_is_zero():
    windows = SplitRectangles(CUTS["wide"])(torch.ones(1, 3, 5, 1))
    assert windows.sum() == 15
    assert windows.shape == (2 * 2, 8, 1)


def test_a_window_has_its_pixels_row_by_row():
    x = torch.arange(4 * 8).view(1, 4, 8, 1)
    assert split(x, (2, 4))[1, :, 0].tolist() == [4, 5, 6, 7, 12, 13, 14, 15]
    assert split(x, (4, 2))[1, :, 0].tolist() == [2, 3, 10, 11, 18, 19, 26, 27]
    assert torch.equal(merge(split(x, (2, 4)), (2, 4), (2, 2)), x)


def test_the_picture_moves_up_and_left():
    x = torch.arange(4 * 8).view(1, 4, 8, 1)
    assert SplitRectangles(CUTS["moved"])(x)[0, :, 0].tolist() == [10, 11, 12, 13, 18, 19, 20, 21]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_mask_hides_what_came_round_the_edge(cut, size):
    """Brute force: the extended picture, moved; pixels that came round an edge don't see those that didn't."""
    (height, width), (rows, columns), (down, right) = cut.window, cut.extended(*size), cut.shift
    mask = RectangleMask(cut)(torch.rand(1, *size, 2))
    assert mask.shape == (rows * columns // (height * width), height * width, height * width)
    windows = [(top, left) for top in range(0, rows, height) for left in range(0, columns, width)]
    for number, (top, left) in enumerate(windows):
        pixels = [(top + i, left + j) for i in range(height) for j in range(width)]
        round_edge = [(y + down >= rows, x + right >= columns) for y, x in pixels]
        for a, first in enumerate(round_edge):
            assert mask[number, a].tolist() == [0.0 if first == second else -100.0 for second in round_edge]
