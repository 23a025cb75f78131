"""Texts, EXIF and resolution are carried as they are, and none is invented, whichever library reads and writes."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, PngImagePlugin

from srquant.data import vips
from srquant.errors import ImageError
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs.one_picture import upscale_file
from srquant.upscale.pictures.metadata import png_chunks
from srquant.upscale.pictures.metadata.exif import for_upright
from srquant.upscale.pictures.metadata.gif_comments import read as gif_comments

Upscale = Callable[[Path, str], Path]
PICTURE = Image.fromarray((np.mgrid[:12, :16, :3].sum(0) * 8).astype(np.uint8))
FORMATS = ["png", "jpg", "webp", "tif"]
ORIENTATION, WIDTH, ARTIST, DETAILS = 0x0112, 0xA002, 0x013B, 0x8769
X_RESOLUTION, Y_RESOLUTION, UNIT, DESCRIPTION = 282, 283, 296, 270


@pytest.fixture(params=["pyvips", "pillow"])
def upscale(request: pytest.FixtureRequest, bilinear: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> Upscale:
    """Upscales a file twice its size into another format, with one of the libraries."""
    monkeypatch.setattr(vips, "WORKS", request.param == "pyvips")

    def run(source: Path, suffix: str) -> Path:
        target = source.with_name(f"out.{suffix}")
        upscale_file(bilinear, source, target, overwrite=True)
        with Image.open(target) as image:
            image.load()
            assert image.size == (32, 24)
        return target

    return run


def info(path: Path) -> dict[Any, Any]:
    with Image.open(path) as image:
        return dict(image.info)


def exif_of(path: Path) -> Image.Exif:
    with Image.open(path) as image:
        return image.getexif()


def texts() -> PngImagePlugin.PngInfo:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "a café, Steps: 20")
    chunks.add_text("long", "word " * 100, zip=True)
    chunks.add_itxt("prompt", '{"1": "日本"}', lang="ja")
    chunks.add_text("Comment", "plain")
    chunks.add(b"tEXt", b"Comment\0twice", after_idat=True)
    return chunks


def test_texts_of_png_survive_as_they_are(upscale: Upscale, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "in.png", pnginfo=texts())
    target = upscale(tmp_path / "in.png", "png")
    assert png_chunks.read(target) == png_chunks.read(tmp_path / "in.png")
    assert len(png_chunks.read(target)) == 5
    assert info(target)["prompt"] == '{"1": "日本"}'


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", [*FORMATS, "gif", "bmp", "avif"])
def test_nothing_is_invented(upscale: Upscale, tmp_path: Path, source: str, target: str) -> None:
    path = tmp_path / f"in.{source}"
    (PICTURE.convert("L") if source == "gif" else PICTURE).save(path)
    if (source, vips.WORKS) == ("gif", False):
        return  # a palette, which Pillow's reader refuses
    written = upscale(path, target)
    invented = {"exif", "dpi", "comment"} - ({"dpi"} if target == "tif" else set())  # Pillow makes one up for TIFF
    assert invented & set(info(written)) == set()
    assert set(exif_of(written)) & {ARTIST, X_RESOLUTION, Y_RESOLUTION, UNIT, DETAILS} == set()
    if target == "png":
        assert png_chunks.read(written) == ()
    assert pyvips.Image.new_from_file(str(written), fail_on="warning").avg() > 0


@pytest.mark.parametrize("target", ["png", "jpg", "tif"])
@pytest.mark.parametrize("source", ["png", "jpg", "tif"])
def test_resolution_survives(upscale: Upscale, tmp_path: Path, source: str, target: str) -> None:
    PICTURE.save(tmp_path / f"in.{source}", dpi=(300, 150))
    written = info(upscale(tmp_path / f"in.{source}", target))
    assert written["dpi"] == pytest.approx((300, 150), abs=0.1)


def test_a_resolution_that_looks_like_a_default_survives(upscale: Upscale, tmp_path: Path) -> None:
    for dots in (72, 25.4):
        PICTURE.save(tmp_path / "in.png", dpi=(dots, dots))
        assert info(upscale(tmp_path / "in.png", "png"))["dpi"] == info(tmp_path / "in.png")["dpi"]


def details() -> Image.Exif:
    exif = Image.Exif()
    exif[ARTIST], exif[ORIENTATION] = "A. Painter", 6
    exif.get_ifd(DETAILS)[WIDTH] = 16
    return exif


@pytest.mark.parametrize("target", ["png", "jpg", "webp"])
@pytest.mark.parametrize("source", ["png", "jpg", "webp"])
def test_exif_survives_upright(
    upscale: Upscale, bilinear: TorchEngine, tmp_path: Path, source: str, target: str
) -> None:
    PICTURE.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"in.{source}", exif=details())
    found = exif_of(upscale(tmp_path / f"in.{source}", target))
    assert found[ARTIST].startswith("A. Painter")
    assert found[ORIENTATION] == 1
    assert found.get_ifd(DETAILS)[WIDTH] == 32
    if target != "webp":
        assert set(found) == {ARTIST, ORIENTATION, DETAILS}


@pytest.mark.parametrize("target", ["png", "jpg"])
@pytest.mark.parametrize("source", ["png", "jpg", "gif"])
def test_comments_survive(upscale: Upscale, tmp_path: Path, source: str, target: str) -> None:
    path = tmp_path / f"in.{source}"
    if (source, vips.WORKS) == ("gif", False):
        return  # a palette, which Pillow's reader refuses
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("Comment", "grüße")
    (PICTURE.convert("L") if source == "gif" else PICTURE).save(
        path, comment="grüße".encode(), pnginfo=chunks if source == "png" else None
    )
    written = info(upscale(path, target))
    assert written["Comment" if target == "png" else "comment"] in ("grüße", "grüße".encode())


def test_colours_of_png_without_a_profile_survive(upscale: Upscale, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "in.png")
    content = (tmp_path / "in.png").read_bytes()
    gamma = png_chunks.Chunk(b"gAMA", struct.pack(">I", 100000)).stored
    (tmp_path / "in.png").write_bytes(content[:33] + gamma + content[33:])
    assert info(upscale(tmp_path / "in.png", "png"))["gamma"] == 1.0


def test_a_profile_is_the_only_word_about_colours(upscale: Upscale, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "in.png", icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    content = (tmp_path / "in.png").read_bytes()
    srgb = png_chunks.Chunk(b"sRGB", b"\0").stored
    (tmp_path / "in.png").write_bytes(content[:33] + srgb + content[33:])
    written = upscale(tmp_path / "in.png", "png")
    assert info(written)["icc_profile"] == info(tmp_path / "in.png")["icc_profile"]
    assert png_chunks.read(written) == ()


@pytest.mark.parametrize(("source", "target"), [("jpg", "jpg"), ("jpg", "webp"), ("webp", "png"), ("png", "png")])
def test_xmp_survives(upscale: Upscale, tmp_path: Path, source: str, target: str) -> None:
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/">grüße</x:xmpmeta>'
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", xmp)
    PICTURE.save(tmp_path / f"in.{source}", xmp=xmp.encode(), pnginfo=chunks)
    written = upscale(tmp_path / f"in.{source}", target)
    assert "grüße" in info(written)["xmp"].decode()
    assert written.read_bytes().count(b"XML:com.adobe.xmp") == (1 if target == "png" else 0)


def test_description_of_tiff_survives(bilinear: TorchEngine, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "in.tif", description="a scan")
    upscale_file(bilinear, tmp_path / "in.tif", tmp_path / "out.tif")
    assert pyvips.Image.new_from_file(str(tmp_path / "out.tif")).get("image-description").startswith("a scan")


def test_absurdly_much_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_chunks, "MOST_TEXT", 100)
    PICTURE.save(tmp_path / "in.png", pnginfo=texts())
    with pytest.raises(ImageError, match=r"in\.png has more than 100 bytes of text"):
        png_chunks.read(tmp_path / "in.png")


@pytest.mark.parametrize("exif", [b"", b"II*\0", b"II*\0\xff\xff\xff\x7f", b"MM\0*\0\0\0\x08\xff\xff" + bytes(40)])
def test_damaged_exif_stays_as_it_is(exif: bytes) -> None:
    assert for_upright(exif, 10, 20) == exif


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_cut_gifs_have_the_comments_that_are_left(tmp_path: Path, cut: int) -> None:
    PICTURE.convert("L").save(tmp_path / "in.gif", comment=b"hello")
    content = (tmp_path / "in.gif").read_bytes()
    (tmp_path / "in.gif").write_bytes(content[: len(content) - cut] if cut else content)
    assert set(gif_comments(tmp_path / "in.gif")) <= {"hello"}
