import numpy as np

from srquant.report.crops import Box
from srquant.report.most_different import most_different


def versions(height=60, width=80):
    plain = np.full((height, width, 3), 100, np.uint8)
    changed = plain.copy()
    changed[10:14, 30:34] = 160
    changed[40:44, 60:64] = 140
    return [plain, changed]


def test_the_most_different_places_come_first():
    first, second = most_different(versions(), 8, 2)
    assert 6 <= first.top <= 10
    assert 26 <= first.left <= 30
    assert 36 <= second.top <= 40
    assert 56 <= second.left <= 60


def test_places_lie_in_the_picture_and_beside_each_other():
    boxes = most_different(versions(30, 70), 16, 9)
    assert 3 <= len(boxes) < 9
    assert all(0 <= box.top <= 30 - 16 and 0 <= box.left <= 70 - 16 for box in boxes)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert abs(a.top - b.top) >= 16 or abs(a.left - b.left) >= 16


def test_the_mean_of_a_square_decides_exactly():
    plain = np.zeros((9, 11, 3), np.uint8)
    changed = plain.copy()
    changed[8, 10] = 255
    assert most_different([plain, changed], 1, 1) == [Box(8, 10, 1)]
    changed[0, 0] = 255
    changed[0, 1] = 255
    assert most_different([plain, changed], 2, 1) == [Box(0, 0, 2)]


def test_a_picture_smaller_than_a_square_is_shown_whole():
    assert most_different(versions(20, 70), 48, 1)[0].side == 20
