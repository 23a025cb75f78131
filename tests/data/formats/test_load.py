"""Only named formats are opened, by their content, in their true colours, and up to a size."""

import struct
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from srquant.data import images, pillow
from srquant.data.formats import limits, readable
from srquant.data.formats.kinds import Format, format_of, recognised
from srquant.data.formats.limits import check_whole
from srquant.data.formats.load import load
from srquant.data.images import image_size, read_rgb
from srquant.errors import ImageError

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
READERS = pytest.mark.parametrize("read", [read_rgb, image_size, pillow.read_rgb, pillow.size])

COLOUR = (200, 60, 30)

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>'
MATRIX = b"3 3\n1 2 3\n4 5 6\n7 8 9\n"


@READERS
@pytest.mark.parametrize("content", [SVG, MATRIX, b"P6\n1 1\n255\nabc"], ids=["svg", "matrix", "ppm"])
def test_other_formats_are_refused_whatever_their_name(tmp_path: Path, content: bytes, read: object) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png as a picture \(it is none of PNG, JPEG"):
        read(tmp_path / "a.png")


@READERS
def test_vips_own_files_are_refused(tmp_path: Path, read: object) -> None:
    pyvips.Image.new_from_array(RGB).write_to_file(str(tmp_path / "a.v"))
    (tmp_path / "a.v").rename(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png as a picture"):
        read(tmp_path / "a.png")


@READERS
def test_names_are_no_options(tmp_path: Path, read: object) -> None:
    Image.fromarray(RGB).save(tmp_path / "in.jpg")
    name = tmp_path / "in.jpg[shrink=2]"
    with pytest.raises(ImageError, match="doesn't exist"):
        read(name)
    (tmp_path / "in.jpg").rename(name)
    assert read(name)[:2] == (20, 30) if read in (image_size, pillow.size) else read(name).shape == (20, 30, 3)


@pytest.mark.parametrize("name", [b"caf\xe9.png", "日本.png".encode(), b"a\x1b[31m.png"])
def test_names_may_be_any_bytes(tmp_path: Path, name: bytes) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    path = Path(str(tmp_path)) / name.decode("utf-8", "surrogateescape")
    (tmp_path / "a.png").rename(path)
    np.testing.assert_array_equal(read_rgb(path), RGB)
    np.testing.assert_array_equal(pillow.read_rgb(path), RGB)


@READERS
def test_large_pictures_are_refused_by_their_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: object
) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "check_whole", lambda *size: check_whole(*size[:3], most=599))
    monkeypatch.setattr(pillow, "check_whole", lambda *size: check_whole(*size[:3], most=599))
    if read is image_size:
        assert read(tmp_path / "a.png") == (20, 30)
        return
    with pytest.raises(ImageError, match=r"a\.png has 30 x 20 pixels, and more than 599 are not read at once"):
        read(tmp_path / "a.png")


def test_the_limit_of_pictures_read_whole() -> None:
    check_whole(Path("a.png"), 2**13, 2**14)
    with pytest.raises(ImageError, match="more than 134217728"):
        check_whole(Path("a.png"), 2**13, 2**14 + 1)
    assert limits.MOST_WHOLE == 2**27


def test_brands_tell_photos_from_films() -> None:
    def box(*brands: bytes) -> bytes:
        return (16 + 4 * len(brands[1:])).to_bytes(4, "big") + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])

    assert recognised(box(b"avif")) is Format.AVIF
    assert recognised(box(b"mif1", b"mif1", b"avif")) is Format.AVIF
    assert recognised(box(b"heic", b"mif1")) is Format.HEIC
    assert recognised(box(b"isom", b"mp41")) is None


def test_bmp_without_pillow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat("RGB").save(tmp_path / "a.bmp")
    monkeypatch.setattr(readable, "find_spec", lambda name: None)
    with pytest.raises(ImageError, match=r"can't read .*a\.bmp: .*pip install pillow"):
        read_rgb(tmp_path / "a.bmp")


@pytest.mark.parametrize(("name", "kind"), [("a.bmp", Format.BMP), ("a.avif", Format.AVIF)])
def test_bmp_and_avif_are_read(tmp_path: Path, name: str, kind: Format) -> None:
    flat("RGB").save(tmp_path / name)
    assert format_of(tmp_path / name) is kind
    for read in (read_rgb, pillow.read_rgb):
        assert np.abs(read(tmp_path / name).astype(int) - COLOUR).max() <= (0 if kind is Format.BMP else 3)


def flat(mode: str) -> Image.Image:
    return Image.new("RGB", (16, 16), COLOUR).convert(mode)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
def test_ycbcr_tiff_has_its_colours(tmp_path: Path, compression: str | None) -> None:
    flat("YCbCr").save(tmp_path / "a.tif", compression=compression)
    assert np.abs(read_rgb(tmp_path / "a.tif").astype(int) - COLOUR).max() <= 3
    assert np.abs(pillow.read_rgb(tmp_path / "a.tif").astype(int) - COLOUR).max() <= 3


def test_lab_tiff_of_8_bits_has_its_colours(tmp_path: Path) -> None:
    flat("LAB").save(tmp_path / "a.tif")
    assert np.abs(read_rgb(tmp_path / "a.tif").astype(int) - COLOUR).max() <= 3
    assert np.abs(pillow.read_rgb(tmp_path / "a.tif").astype(int) - COLOUR).max() <= 3


def test_ycbcr_tiff_with_shared_colours(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(subsampled_tiff(()))
    assert np.abs(read_rgb(tmp_path / "a.tif").astype(int) - COLOUR).max() <= 3


def test_ycbcr_with_other_coefficients_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(subsampled_tiff((2126, 10000, 7152, 10000, 722, 10000)))
    with pytest.raises(ImageError, match=r"coefficients.*convert it to RGB"):
        read_rgb(tmp_path / "a.tif")


def subsampled_tiff(coefficients: tuple[int, ...]) -> bytes:
    """16 x 16 pixels of one colour, uncompressed; blocks of 2 x 2 share Cb and Cr (TIFF 6.0, section 21)."""
    y, cb, cr = flat("YCbCr").getpixel((0, 0))
    pixels = bytes((y, y, y, y, cb, cr)) * 64
    tags = [(256, 3, 1, 16), (257, 3, 1, 16), (258, 3, 3, 0), (259, 3, 1, 1), (262, 3, 1, 6), (273, 4, 1, 0)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 16), (279, 4, 1, len(pixels))]
    tags += [(529, 5, 3, 0)] if coefficients else []
    tags += [(530, 3, 2, 2 | 2 << 16)]
    beside = 8 + 2 + 12 * len(tags) + 4
    places = {258: beside, 529: beside + 6, 273: beside + 32}
    entries = [number(t, 2) + number(k, 2) + number(n, 4) + number(places.get(t, v), 4) for t, k, n, v in tags]
    bits = b"".join(number(8, 2) for _ in range(3))
    values = (bits + b"".join(number(c, 4) for c in coefficients)).ljust(32, b"\0")
    return b"II*\0" + number(8, 4) + number(len(tags), 2) + b"".join(entries) + bytes(4) + values + pixels


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def test_a_header_that_claims_more_pixels_than_a_file_can_hold_is_refused(tmp_path):
    path = tmp_path / "wide.tif"
    Image.new("RGB", (24, 24)).save(path)
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HHI", 256, 4, 1)) + 8
    content[place : place + 4] = struct.pack("<I", 8_000_000)
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"claims 8000000 x 24 pixels in {len(content)} bytes"):
        load(path)


def test_plain_pictures_pack_well(tmp_path):
    Image.new("RGB", (5000, 5000)).save(tmp_path / "plain.png", optimize=True)
    assert load(tmp_path / "plain.png").width == 5000
