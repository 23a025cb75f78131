"""Without pyvips, pictures are read and written by Pillow, with the same pixels and one note."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from srquant.data import images, pillow
from srquant.errors import ImageError
from srquant.upscale.pictures.pillow_picture import encode_with_pillow, open_with_pillow
from srquant.upscale.pictures.reading import Reading

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (20, 30, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (20, 30, 4), np.uint8)

BROKEN = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name == "pyvips":
            raise RuntimeError("undefined type name: VipsCallbackFn")
sys.meta_path.insert(0, Broken())
"""
"""Makes importing pyvips fail as it does with a cffi that doesn't fit."""


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


@pytest.mark.parametrize("pixels", [RGB, RGB[..., 0], ALPHA], ids=["rgb", "gray", "alpha"])
def test_same_pixels_as_pyvips(tmp_path: Path, pixels: np.ndarray) -> None:
    path = save(tmp_path / "a.png", pixels)
    np.testing.assert_array_equal(pillow.read_rgb(path), images.read_rgb(path))
    assert pillow.size(path) == images.image_size(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", RGB, exif=exif)
    np.testing.assert_array_equal(pillow.read_rgb(path), images.read_rgb(path))
    assert pillow.size(path) == ((30, 20) if orientation > 4 else (20, 30))


def test_damaged_exif_is_no_obstacle(tmp_path: Path) -> None:
    turned = b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    resolution = b"\x1a\x01\x02\0\x04\0\0\0text"  # which should be a fraction
    path = save(tmp_path / "a.jpg", RGB, exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0" + turned + resolution + bytes(4))
    assert pillow.read_rgb(path).shape == (30, 20, 3)


def test_16_bit_gray_is_rounded(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RANDOM.integers(0, 65536, (20, 30), np.uint16))
    np.testing.assert_array_equal(pillow.read_rgb(path), images.read_rgb(path))


def test_palette_with_transparency(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(path, transparency=0)
    np.testing.assert_array_equal(pillow.read_rgb(path), images.read_rgb(path))


def test_written_png_is_read_back() -> None:
    with Image.open(io.BytesIO(pillow.png_bytes(RGB))) as image:
        np.testing.assert_array_equal(np.array(image), RGB)


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ImageError, match=r"a\.png as a picture"):
        pillow.read_rgb(path)
    with pytest.raises(ImageError, match="doesn't exist"):
        pillow.size(tmp_path / "b.png")


def test_what_only_pyvips_keeps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"mode RGBA.*pyvips\[binary\]"):
        open_with_pillow(save(tmp_path / "a.png", ALPHA), Reading())


def refused(path: Path, why: str) -> None:
    with pytest.raises(ImageError, match=rf"{path.name} is no single .*{why}.*pyvips\[binary\]"):
        open_with_pillow(path, Reading())


def test_alpha_in_a_palette_or_a_colour_is_refused(tmp_path: Path) -> None:
    for mode, hidden in (("RGB", (0, 0, 0)), ("L", 0)):
        Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png", transparency=hidden)
        refused(tmp_path / "a.png", "with transparency")


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_colours_are_refused_not_cut(tmp_path: Path, suffix: str) -> None:
    deep = pyvips.Image.new_from_array(RGB.astype(np.uint16) * 257).copy(interpretation="rgb16")
    deep.write_to_file(str(tmp_path / f"a{suffix}"))
    refused(tmp_path / f"a{suffix}", "16 bit")


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
def test_frames_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((9, 9, 3), value, np.uint8)) for value in (0, 99, 200)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    refused(tmp_path / f"a{suffix}", "3 frames")


def test_jpeg_without_end_needs_pyvips(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", RGB)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ImageError, match=r"a\.jpg lacks its end marker.*needs pyvips"):
        open_with_pillow(path, Reading(tolerant=True))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_profile_is_kept(tmp_path: Path, suffix: str) -> None:
    picture = open_with_pillow(save(tmp_path / "a.png", RGB, icc_profile=b"profile"), Reading())
    encode_with_pillow(tmp_path / "a.png", picture, 1, suffix, tmp_path / "b")
    with Image.open(tmp_path / "b") as image:
        assert image.info["icc_profile"] == b"profile"
        np.testing.assert_array_equal(np.array(image), RGB)


def test_upscaling_goes_on_without_pyvips(tmp_path: Path) -> None:
    source, target = save(tmp_path / "a.png", RGB), tmp_path / "b.png"
    command = "from srquant.cli.app import app; sys.argv[0] = 'srquant'; app()"
    arguments = ["upscale", "edsr_small_x2", str(source), "-o", str(target), "--engine", "torch"]
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN + command, *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    notes = [line for line in ended.stderr.splitlines() if "VipsCallbackFn" in line]
    assert notes == [
        "pyvips can't be loaded (undefined type name: VipsCallbackFn): pictures are read and written by Pillow, "
        "8-bit gray and RGB only"
    ]
    with Image.open(target) as image:
        assert image.size == (60, 40)


def test_quality(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    picture = open_with_pillow(save(tmp_path / "a.png", noise), Reading())
    for quality in (5, 95, None):
        for suffix in (".jpg", ".webp", ".png"):
            encode_with_pillow(tmp_path / "a.png", picture, 1, suffix, tmp_path / f"{quality}{suffix}", quality)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    for suffix in (".jpg", ".webp"):
        assert sizes[f"5{suffix}"] < sizes[f"95{suffix}"] / 2
        assert sizes[f"95{suffix}"] == sizes[f"None{suffix}"]
    assert sizes["5.png"] == sizes["95.png"]
