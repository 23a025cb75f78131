"""Every kind of picture becomes 8-bit RGB; every damaged one an error that names it."""

import numpy as np
import pytest
import pyvips

from srquant.data.find import list_images
from srquant.data.images import image_size, read_rgb
from srquant.errors import DatasetError, ImageError

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (20, 30, 3), np.uint8)
DEEP = RANDOM.integers(0, 65536, (20, 30, 4), np.uint16)


def write(path, array, interpretation="srgb", **options):
    pyvips.Image.new_from_array(np.ascontiguousarray(array), interpretation=interpretation).write_to_file(
        str(path), **options
    )
    return path


def gray(plane):
    return np.repeat(plane[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_rgb_is_returned_as_stored(tmp_path, suffix):
    np.testing.assert_array_equal(read_rgb(write(tmp_path / f"a.{suffix}", RGB)), RGB)


def test_alpha_is_dropped_not_blended(tmp_path):
    image = RANDOM.integers(0, 256, (20, 30, 4), np.uint8)
    np.testing.assert_array_equal(read_rgb(write(tmp_path / "a.png", image)), image[..., :3])


@pytest.mark.parametrize("channels", [1, 2], ids=["gray", "gray-alpha"])
def test_gray_is_replicated(tmp_path, channels):
    path = write(tmp_path / "a.png", RGB[..., :channels], "b-w")
    np.testing.assert_array_equal(read_rgb(path), gray(RGB[..., 0]))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colours_are_scaled_by_257_and_rounded(tmp_path, channels, suffix):
    path = write(tmp_path / f"a.{suffix}", DEEP[..., :channels], "rgb16")
    np.testing.assert_array_equal(read_rgb(path), np.round(DEEP[..., :3] / 257))


def test_16_bit_gray_is_scaled_and_replicated(tmp_path):
    path = write(tmp_path / "a.png", DEEP[..., 0], "grey16")
    np.testing.assert_array_equal(read_rgb(path), gray(np.round(DEEP[..., 0] / 257)))


def test_every_8_bit_value_survives_16_bits(tmp_path):
    values = np.arange(256, dtype=np.uint16)[None]
    np.testing.assert_array_equal(read_rgb(write(tmp_path / "a.png", values * 257, "grey16")), gray(values))


def test_palette_is_expanded(tmp_path):
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    image = colours[RANDOM.integers(0, 4, (20, 30))]
    path = write(tmp_path / "a.png", image, palette=True, dither=0)
    assert pyvips.Image.new_from_file(str(path)).get("palette") == 1
    np.testing.assert_array_equal(read_rgb(path), image)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_bit_becomes_black_and_white(tmp_path, suffix):
    plane = np.where(RGB[..., 0] > 127, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(read_rgb(write(tmp_path / f"a.{suffix}", plane, "b-w", bitdepth=1)), gray(plane))


def test_cmyk_is_converted(tmp_path):
    flat = np.full((16, 16, 3), (200, 60, 30), np.uint8)
    cmyk = pyvips.Image.new_from_array(flat, interpretation="srgb").colourspace("cmyk")
    cmyk.write_to_file(str(tmp_path / "a.jpg"), Q=100)
    image = read_rgb(tmp_path / "a.jpg")
    assert image.shape == flat.shape
    assert np.abs(image.astype(int) - flat).max() <= 40  # the gamut of print is smaller


def test_orientation_is_applied(tmp_path):
    turned = pyvips.Image.new_from_array(RGB, interpretation="srgb").copy()
    turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
    turned.write_to_file(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), np.rot90(RGB, -1))
    assert image_size(tmp_path / "a.png") == (30, 20)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = np.concatenate([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)])
    film = pyvips.Image.new_from_array(frames, interpretation="srgb").copy()
    film.set_type(pyvips.GValue.gint_type, "page-height", 8)
    film.write_to_file(str(tmp_path / "a.gif"))
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.gif"), frames[:8])


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 16384)])
def test_extreme_sizes(tmp_path, size):
    image = RANDOM.integers(0, 256, (*size, 3), np.uint8)
    np.testing.assert_array_equal(read_rgb(write(tmp_path / "a.png", image)), image)


def test_content_decides_the_format(tmp_path):
    write(tmp_path / "a.png", RGB).rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.jpg"), RGB)


def test_a_replaced_file_is_read_anew(tmp_path):
    read_rgb(write(tmp_path / "a.png", RGB))
    np.testing.assert_array_equal(read_rgb(write(tmp_path / "a.png", 255 - RGB)), 255 - RGB)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif"])
def test_truncated_pictures_are_refused(tmp_path, suffix, kept):
    path = write(tmp_path / f"cut.{suffix}", RANDOM.integers(0, 256, (64, 64, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ImageError, match=rf"cut\.{suffix}.*replace the file or leave it out"):
        read_rgb(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"a\.png is empty \(0 bytes\): copy the picture again, or leave it out"),
        (b"no picture at all", r"a\.png as a picture \(it is none of PNG, .*\): convert it to one, or leave it out"),
    ],
    ids=["empty", "text"],
)
@pytest.mark.parametrize("read", [read_rgb, image_size])
def test_what_is_no_picture_is_refused(tmp_path, content, says, read):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=says):
        read(tmp_path / "a.png")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png doesn't exist"):
        read_rgb(tmp_path / "none.png")


def test_listing_is_sorted_and_leaves_out_what_is_no_picture(tmp_path):
    for name in ["b.PNG", "a.jpg", "notes.txt", ".hidden.png"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "folder.png" / "c.webp").touch()
    assert [p.name for p in list_images(tmp_path)] == ["a.jpg", "b.PNG"]
    assert [p.name for p in list_images(tmp_path, recursive=True)] == ["a.jpg", "b.PNG", "c.webp"]


def test_an_empty_folder_says_where_pictures_are(tmp_path):
    with pytest.raises(DatasetError, match=r"contains no pictures.*put some there"):
        list_images(tmp_path)
    (tmp_path / "HR").mkdir()
    (tmp_path / "HR" / "a.png").touch()
    with pytest.raises(DatasetError, match=r"did you mean .*HR"):
        list_images(tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere is not a folder"):
        list_images(tmp_path / "nowhere")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_a_finite_number(tmp_path, value):
    pixels = np.full((6, 5, 3), 0.5, np.float32)
    pyvips.Image.new_from_array(pixels, interpretation="srgb").write_to_file(str(tmp_path / "whole.tif"))
    pixels[2, 3, 1] = value
    pyvips.Image.new_from_array(pixels, interpretation="srgb").write_to_file(str(tmp_path / "broken.tif"))
    assert read_rgb(tmp_path / "whole.tif").shape == (6, 5, 3)
    with pytest.raises(ImageError, match=r"broken\.tif has pixels that are not a finite number"):
        read_rgb(tmp_path / "broken.tif")
