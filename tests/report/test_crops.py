import numpy as np

from srquant.report.crops import GAP, LABEL_HEIGHT, Box, Column, side_by_side


def test_pieces_are_enlarged_and_placed():
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(4)]
    columns = [Column("left\n1 dB", pictures[:2]), Column("right", pictures[2:])]
    boxes = [Box(3, 5, 8), Box(0, 22, 8)]
    sheet = side_by_side(columns, boxes, zoom=2)
    assert sheet.shape == (LABEL_HEIGHT + 2 * 16 + GAP, 2 * 16 + GAP, 3)
    for i in range(2):
        for j, box in enumerate(boxes):
            top, left = LABEL_HEIGHT + j * (16 + GAP), i * (16 + GAP)
            piece = columns[i].pictures[j][box.top : box.top + 8, box.left : box.left + 8]
            assert np.array_equal(sheet[top : top + 16 : 2, left : left + 16 : 2], piece)
            assert np.array_equal(sheet[top + 1 : top + 16 : 2, left + 1 : left + 16 : 2], piece)


def test_labels_are_drawn():
    picture = np.zeros((8, 8, 3), np.uint8)
    sheet = side_by_side([Column("W", [picture]), Column("", [picture])], [Box(0, 0, 8)], zoom=4)
    assert sheet[:LABEL_HEIGHT, :32].min() < 128
    assert sheet[:LABEL_HEIGHT, 32:].min() == 255
