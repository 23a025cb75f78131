"""Enlarged crops of several versions of the same pictures, side by side, with labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]

GAP, LABEL_HEIGHT, FONT_SIZE = 6, 44, 15
PAPER, INK = (255, 255, 255), (20, 20, 20)


@dataclass(frozen=True)
class Box:
    """A square crop of a picture: its upper left corner and its side, in pixels."""

    top: int
    left: int
    side: int


@dataclass(frozen=True)
class Column:
    """One version of all pictures.

    Attributes:
        label: text above the column; may have several lines.
        pictures: one per row, ``H x W x 3``, 8 bit.
    """

    label: str
    pictures: Sequence[Pixels]


def side_by_side(columns: Sequence[Column], boxes: Sequence[Box], zoom: int) -> Pixels:
    """Draw a column per version and a row per picture.

    Args:
        columns: each with as many pictures as there are boxes.
        boxes: the crop of each picture; all have the same side.
        zoom: integer factor of the enlargement (nearest neighbour).

    Returns:
        ``H x W x 3``, 8 bit.
    """
    cell = boxes[0].side * zoom
    size = len(columns) * (cell + GAP) - GAP, LABEL_HEIGHT + len(boxes) * (cell + GAP) - GAP
    sheet = Image.new("RGB", size, PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    for i, column in enumerate(columns):
        left = i * (cell + GAP)
        draw.multiline_text((left + 2, 2), column.label, INK, font)
        for j, (picture, box) in enumerate(zip(column.pictures, boxes, strict=True)):
            sheet.paste(_enlarged(picture, box, zoom), (left, LABEL_HEIGHT + j * (cell + GAP)))
    return np.asarray(sheet)


def _enlarged(picture: Pixels, box: Box, zoom: int) -> Image.Image:
    piece = picture[box.top : box.top + box.side, box.left : box.left + box.side]
    return Image.fromarray(piece.repeat(zoom, axis=0).repeat(zoom, axis=1))
