"""Tags of TIFF files in all four layouts, and of damaged ones."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import pyvips

from srquant.data.formats.tiff_tags import read_directory

WIDTH, BITS, RESOLUTION = 256, 258, 282


def classic(order: str) -> bytes:
    """A width of 7, three bit depths beside the tags, a fraction, and a text, which is no number."""
    tags = [(WIDTH, 3, 1, struct.pack(f"{order}HH", 7, 0)), (BITS, 3, 3, struct.pack(f"{order}I", 62))]
    tags += [(270, 2, 4, b"abc\0"), (RESOLUTION, 5, 1, struct.pack(f"{order}I", 68))]
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", 42, 8)
    entries = b"".join(struct.pack(f"{order}HHI", number, kind, count) + value for number, kind, count, value in tags)
    return (
        start + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + struct.pack(f"{order}HHHII", 8, 8, 16, 3, 2)
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes(order: str) -> None:
    tags = read_directory(io.BytesIO(classic(order)))
    assert tags is not None
    assert tags.values(WIDTH) == (7,)
    assert tags.values(BITS) == (8, 8, 16)
    assert tags.values(RESOLUTION) == (3, 2)
    assert tags.values(270) == ()
    assert tags.first(999, 5) == 5


@pytest.mark.parametrize("bigtiff", [True, False])
def test_files_of_libvips(tmp_path: Path, bigtiff: bool) -> None:
    image = pyvips.Image.new_from_array(np.zeros((5, 300, 3), np.uint8), interpretation="srgb").copy(xres=4, yres=8)
    image.write_to_file(str(tmp_path / "a.tif"), bigtiff=bigtiff)
    with (tmp_path / "a.tif").open("rb") as file:
        tags = read_directory(file)
    assert tags is not None
    assert tags.layout.big is bigtiff
    assert tags.values(WIDTH) == (300,)
    assert tags.values(BITS) == (8, 8, 8)
    across, below = tags.values(RESOLUTION)
    assert across / below == pytest.approx(4 * 25.4)


def test_cut_files_have_no_tags() -> None:
    content = classic("<")
    assert all(read_directory(io.BytesIO(content[:length])) is None for length in range(57))


def test_cut_values_are_none() -> None:
    tags = read_directory(io.BytesIO(classic("<")[:-3]))
    assert tags is not None
    assert tags.values(RESOLUTION) == ()
    assert tags.values(BITS) == (8, 8, 16)


@pytest.mark.parametrize("position", [2**31, 2**63 - 1, 2**64 - 1])
def test_positions_that_no_file_has(tmp_path: Path, position: int) -> None:
    (tmp_path / "a.tif").write_bytes(b"II" + struct.pack("<HHHQ", 43, 8, 0, position) + bytes(100))
    with (tmp_path / "a.tif").open("rb") as file:
        assert read_directory(file) is None


def test_an_absurd_number_of_tags_is_no_directory() -> None:
    content = classic("<")
    assert read_directory(io.BytesIO(content[:8] + b"\xff\xff" + content[10:] + bytes(10**6))) is None
