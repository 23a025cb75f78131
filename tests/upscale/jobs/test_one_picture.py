"""What must survive when a picture file is upscaled, and which files are refused."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from PIL import Image

from srquant.errors import ImageError, OutputError
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.jobs import one_picture as picture_file
from srquant.upscale.jobs.one_picture import upscale_file
from srquant.upscale.pictures import write as encoding
from srquant.upscale.pictures.reading import Reading
from srquant.upscale.pictures.rows import Pixels
from srquant.upscale.tiles.upscale_tiles import upscale_array

Save = Callable[..., Path]


def smooth(height: int, width: int, bands: int, dtype: type = np.uint8) -> Pixels:
    """Slow waves, which lossy formats keep."""
    y, x, band = np.mgrid[:height, :width, :bands]
    wave = 0.5 + 0.4 * np.sin(x / 9 + band) * np.cos(y / 7)
    return (wave * np.iinfo(dtype).max).astype(dtype)


def read(path: Path) -> pyvips.Image:
    return pyvips.Image.new_from_file(str(path), revalidate=True)


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(array: Pixels, name: str, **options: object) -> Path:
        path = tmp_path / name
        image = pyvips.Image.new_from_array(array)
        if array.dtype == np.uint16:
            image = image.copy(interpretation="grey16" if image.bands < 3 else "rgb16")
        image.write_to_file(str(path), **options)
        return path

    return save


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name.startswith(".srquant")]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("bands", [1, 3], ids=["gray", "rgb"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16], ids=["8", "16"])
def test_lossless_files_hold_what_the_engine_gives(
    engine: TorchEngine, save: Save, suffix: str, bands: int, dtype: type
) -> None:
    image = smooth(40, 50, bands, dtype)
    source = save(image, f"in{suffix}")
    target = source.with_name(f"out{suffix}")
    upscale_file(engine, source, target, tile=17)
    result = read(target)
    assert result.bands == bands
    array = result.numpy().reshape(80, 100, bands)
    assert array.dtype == dtype
    off = np.abs(array.astype(int) - upscale_array(engine, image, 1000).astype(int))
    assert off.max() <= 1
    assert (off > 0).mean() < 0.001  # ties, which the order of sums decides
    assert leftovers(source.parent) == []


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16], ids=["8", "16"])
def test_lossy_files_are_near_and_8_bit(bilinear: TorchEngine, save: Save, suffix: str, dtype: type) -> None:
    image = smooth(40, 50, 3, dtype)
    source = save(image, "in.png")
    target = source.with_name(f"out{suffix}")
    upscale_file(bilinear, source, target)
    array = read(target).numpy()
    expected = upscale_array(bilinear, image) / (257 if dtype == np.uint16 else 1)
    assert array.dtype == np.uint8
    assert np.abs(array - expected).mean() < 4


def test_gray_jpeg_stays_gray(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(20, 20, 1), "in.jpg")
    upscale_file(engine, source, source.with_name("out.jpg"))
    assert read(source.with_name("out.jpg")).bands == 1


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("bands", [2, 4], ids=["gray", "rgb"])
def test_alpha_survives(engine: TorchEngine, save: Save, suffix: str, bands: int) -> None:
    image = smooth(30, 40, bands)
    image[:, :20, -1], image[:, 20:, -1] = 0, 255
    source = save(image, "in.png")
    target = source.with_name(f"out{suffix}")
    upscale_file(engine, source, target)
    result = read(target)
    assert result.hasalpha()
    alpha = result.numpy()[..., -1]
    assert alpha.shape == (60, 80)
    assert (alpha[:, :36] == 0).all()
    assert (alpha[:, 44:] == 255).all()


def test_alpha_of_16_bits_keeps_them(engine: TorchEngine, save: Save) -> None:
    image = smooth(30, 40, 4, np.uint16)
    image[..., 3] = 12345
    source = save(image, "in.png")
    upscale_file(engine, source, source.with_name("out.png"))
    result = read(source.with_name("out.png"))
    assert result.hasalpha()
    assert (result.numpy()[..., 3] == 12345).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_turned_pictures_look_the_same(bilinear: TorchEngine, tmp_path: Path, orientation: int, suffix: str) -> None:
    image = pyvips.Image.new_from_array(smooth(20, 36, 3)).copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    source, target = tmp_path / "in.jpg", tmp_path / f"out{suffix}"
    image.write_to_file(str(source), Q=100)
    upscale_file(bilinear, source, target)
    upright = read(source).autorot()
    expected = upscale_array(bilinear, upright.numpy()).astype(int)
    shown = read(target).autorot().numpy().astype(int)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean() < 4


def test_metadata_survives(engine: TorchEngine, tmp_path: Path) -> None:
    profile = display_p3()
    image = pyvips.Image.new_from_array(smooth(20, 24, 3)).copy(xres=11.8, yres=11.8)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.set_type(pyvips.GValue.gstr_type, "exif-ifd0-Artist", "A. Painter")
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    source = tmp_path / "in.jpg"
    image.write_to_file(str(source))
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        target = tmp_path / f"out{suffix}"
        upscale_file(engine, source, target)
        result = read(target)
        assert result.get("icc-profile-data") == profile, suffix
        assert result.get_typeof("orientation") == 0 or result.get("orientation") == 1, suffix
        if suffix != ".tif":  # libvips writes no EXIF to TIFF
            assert result.get("exif-ifd0-Artist").startswith("A. Painter"), suffix
        if suffix != ".webp":
            assert result.xres == pytest.approx(11.8, rel=0.02), suffix


def display_p3() -> bytes:
    image = pyvips.Image.black(1, 1, bands=3).copy(interpretation="srgb").icc_transform("p3", input_profile="srgb")
    profile: bytes = image.get("icc-profile-data")
    return profile


def test_palette_is_expanded(engine: TorchEngine, save: Save) -> None:
    image = smooth(20, 24, 3) // 64 * 64
    source = save(image, "in.png", palette=True)
    upscale_file(engine, source, source.with_name("out.png"))
    result = read(source.with_name("out.png"))
    assert (result.bands, result.width, result.height) == (3, 48, 40)


def test_gif_of_one_frame_is_read(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(20, 24, 3), "in.gif")
    upscale_file(engine, source, source.with_name("out.png"))
    assert read(source.with_name("out.png")).width == 48


def test_one_bit_becomes_gray(engine: TorchEngine, save: Save) -> None:
    source = save((smooth(20, 24, 1) > 128).astype(np.uint8) * 255, "in.png", bitdepth=1)
    upscale_file(engine, source, source.with_name("out.png"))
    array = read(source.with_name("out.png")).numpy()
    assert array.shape[:2] == (40, 48)
    assert len(np.unique(array)) > 2


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_becomes_srgb(bilinear: TorchEngine, tmp_path: Path, suffix: str) -> None:
    colours = smooth(24, 24, 3)
    cmyk = pyvips.Image.new_from_array(colours).copy(interpretation="srgb").icc_transform("cmyk", input_profile="srgb")
    source = tmp_path / f"in{suffix}"
    cmyk.write_to_file(str(source))
    assert read(source).interpretation == "cmyk"
    target = tmp_path / f"out{suffix}"
    upscale_file(bilinear, source, target)
    result = read(target)
    assert (result.bands, result.interpretation) == (3, "srgb")
    upright = read(source).icc_transform("srgb", embedded=True).numpy()
    assert np.abs(result.numpy() - upscale_array(bilinear, upright).astype(int)).mean() < 4
    assert b"CMYK" not in result.get("icc-profile-data")[:64]


@pytest.mark.parametrize(
    ("name", "options"),
    [("in.jpg", {"interlace": True}), ("in.png", {"interlace": True}), ("in.tif", {"tile": True, "tile_width": 16})],
    ids=["progressive", "interlaced", "tiled"],
)
def test_pictures_not_stored_row_by_row(bilinear: TorchEngine, save: Save, name: str, options: dict[str, int]) -> None:
    source = save(smooth(70, 60, 3), name, **options)
    target = source.with_name("out.png")
    upscale_file(bilinear, source, target, tile=8)
    np.testing.assert_array_equal(read(target).numpy(), upscale_array(bilinear, read(source).numpy(), tile=8))


def test_lab_becomes_srgb(bilinear: TorchEngine, tmp_path: Path) -> None:
    image = pyvips.Image.new_from_array(smooth(24, 24, 3)).copy(interpretation="srgb")
    image.colourspace("lab").write_to_file(str(tmp_path / "in.tif"))
    upscale_file(bilinear, tmp_path / "in.tif", tmp_path / "out.png")
    off = np.abs(read(tmp_path / "out.png").numpy().astype(int) - upscale_array(bilinear, image.numpy()))
    assert off.max() <= 4


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (1, 40), (2, 1)])
def test_tiny_pictures(engine: TorchEngine, save: Save, height: int, width: int) -> None:
    source = save(smooth(height, width, 4), "in.png")
    upscale_file(engine, source, source.with_name("out.png"))
    result = read(source.with_name("out.png"))
    assert (result.height, result.width, result.bands) == (2 * height, 2 * width, 4)


def test_wide_picture(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(8, 16384, 3), "in.png")
    seen = []
    upscale_file(engine, source, source.with_name("out.png"), tile=128, progress=lambda done, total: seen.append(done))
    result = read(source.with_name("out.png"))
    assert (result.height, result.width) == (16, 32768)
    assert seen[-1] == 8 * 16384
    assert len(seen) == 128


def test_content_decides_the_format(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(20, 24, 3), "in.jpg").rename(save(smooth(2, 2, 3), "wrong.png"))
    upscale_file(engine, source, source.with_name("out.png"))
    assert read(source.with_name("out.png")).width == 48


def test_names_with_brackets_are_names(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(20, 24, 3), "in.png")
    source = source.rename(source.with_name("a[page=2].png"))
    target = source.with_name("b[Q=1].png")
    upscale_file(engine, source, target)
    assert target.exists()


def frames(name: str, folder: Path) -> Path:
    strip = pyvips.Image.new_from_array(smooth(30, 12, 3)).copy()
    strip.set_type(pyvips.GValue.gint_type, "page-height", 10)
    path = folder / name
    strip.write_to_file(str(path))
    return path


@pytest.mark.parametrize("name", ["in.gif", "in.webp", "in.tif"])
def test_animations_are_refused(engine: TorchEngine, tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="3 frames or pages: save each"):
        upscale_file(engine, frames(name, tmp_path), tmp_path / "out.png")


def test_animated_png_is_refused(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(20, 24, 3), "in.png")
    data = source.read_bytes()
    control = b"\0\0\0\x08acTL\0\0\0\x05\0\0\0\0" + bytes(4)
    source.write_bytes(data[:33] + control + data[33:])
    with pytest.raises(ImageError, match="5 frames"):
        upscale_file(engine, source, source.with_name("out.png"))


@pytest.mark.parametrize("name", ["in.png", "in.jpg", "in.webp", "in.tif", "in.gif"])
@pytest.mark.parametrize("share", [0.05, 0.6, 0.95])
def test_truncated_pictures_are_refused(engine: TorchEngine, save: Save, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    source = save(noise, name)
    data = source.read_bytes()
    source.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=f"can't read .*{name}"):
        upscale_file(engine, source, source.with_name("out.png"), tile=16)
    assert not source.with_name("out.png").exists()
    assert leftovers(source.parent) == []


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"not a picture at all", "can't read")], ids=["empty", "text"]
)
def test_other_files_are_refused(engine: TorchEngine, tmp_path: Path, content: bytes, message: str) -> None:
    source = tmp_path / "in.png"
    source.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        upscale_file(engine, source, tmp_path / "out.png")


def test_missing_file_is_refused(engine: TorchEngine, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"in\.png doesn't exist"):
        upscale_file(engine, tmp_path / "in.png", tmp_path / "out.png")


def test_float_samples_are_refused(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(9, 9, 3).astype(np.float32), "in.tif")
    with pytest.raises(ImageError, match="float samples"):
        upscale_file(engine, source, source.with_name("out.png"))


def without_end(path: Path) -> bytes:
    """A JPEG file of noise; the end marker is taken away from it."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    pyvips.Image.new_from_array(noise).write_to_file(str(path), Q=90, interlace=path.stem == "progressive")
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    return content


@pytest.mark.parametrize("name", ["baseline.jpg", "progressive.jpg"])
def test_jpeg_without_end_is_read_if_asked_for(
    engine: TorchEngine, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, whole = tmp_path / name, tmp_path / "whole.jpg"
    whole.write_bytes(without_end(source))
    with pytest.raises(ImageError, match="premature end"):
        upscale_file(engine, source, tmp_path / "out.png")
    upscale_file(engine, source, tmp_path / "out.png", reading=Reading(tolerant=True))
    assert f"{name} lacks its end marker" in caplog.text
    upscale_file(engine, whole, tmp_path / "right.png", reading=Reading(tolerant=True))
    np.testing.assert_array_equal(read(tmp_path / "out.png").numpy(), read(tmp_path / "right.png").numpy())
    assert "whole.jpg" not in caplog.text


@pytest.mark.parametrize("name", ["baseline.jpg", "progressive.jpg"])
@pytest.mark.parametrize("missing", [3, 5, 400])
def test_tolerance_ends_where_pixels_are_missing(engine: TorchEngine, tmp_path: Path, name: str, missing: int) -> None:
    content = without_end(tmp_path / name)
    (tmp_path / name).write_bytes(content[:-missing])
    with pytest.raises(ImageError, match=r"\.jpg as a picture \(its end is missing\)"):
        upscale_file(engine, tmp_path / name, tmp_path / "out.png", reading=Reading(tolerant=True))
    assert not (tmp_path / "out.png").exists()


def test_tolerance_ends_where_a_scan_is_missing(engine: TorchEngine, tmp_path: Path) -> None:
    source = tmp_path / "progressive.jpg"
    content = without_end(source)
    source.write_bytes(content[: content.rindex(b"\xff\xda")])
    with pytest.raises(ImageError, match="its end is missing"):
        upscale_file(engine, source, tmp_path / "out.png", reading=Reading(tolerant=True))


def test_half_an_end_marker_is_no_pixel(engine: TorchEngine, tmp_path: Path) -> None:
    source = tmp_path / "progressive.jpg"
    source.write_bytes(without_end(source)[:-1])
    upscale_file(engine, source, tmp_path / "out.png", reading=Reading(tolerant=True))
    assert read(tmp_path / "out.png").width == 180


def test_results_have_a_limit(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    with pytest.raises(ImageError, match=r"in\.png would become 18 x 18 pixels, more than 323: .*--max-pixels"):
        upscale_file(engine, source, source.with_name("out.png"), reading=Reading(most_output=323))
    upscale_file(engine, source, source.with_name("out.png"), reading=Reading(most_output=324))
    assert Reading().most_output == 2**31


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.gif", {}), ("a.webp", {}), ("a.png", {"interlace": True}), ("a.jpg", {"interlace": True}), ("t.jpg", {})],
)
def test_what_is_read_whole_has_a_limit_of_its_own(
    engine: TorchEngine, save: Save, name: str, options: dict[str, bool]
) -> None:
    source = save(smooth(9, 9, 3), name, **options)
    if name == "t.jpg":
        turned = read(source).copy()
        turned.set_type(pyvips.GValue.gint_type, "orientation", 6)
        turned.copy_memory().write_to_file(str(source))
    with pytest.raises(ImageError, match="9 x 9 pixels, and more than 80 are not read at once"):
        upscale_file(engine, source, source.with_name("out.png"), reading=Reading(most_whole=80))


def test_what_is_read_row_by_row_has_none(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    upscale_file(engine, source, source.with_name("out.png"), reading=Reading(most_whole=80))


def test_tiff_of_other_colours(bilinear: TorchEngine, tmp_path: Path) -> None:
    colours = Image.new("RGB", (16, 16), (200, 60, 30))
    for mode in ("YCbCr", "LAB"):
        colours.convert(mode).save(tmp_path / "in.tif")
        upscale_file(bilinear, tmp_path / "in.tif", tmp_path / "out.png", overwrite=True)
        result = read(tmp_path / "out.png").numpy()
        assert result.shape == (32, 32, 3)
        assert np.abs(result.astype(int) - (200, 60, 30)).max() <= 3, mode


def test_bmp_and_avif_become_png(engine: TorchEngine, tmp_path: Path) -> None:
    for name in ("a.bmp", "a.avif"):
        Image.fromarray(smooth(16, 20, 3)).save(tmp_path / name)
        upscale_file(engine, tmp_path / name, tmp_path / "out.png", overwrite=True)
        assert read(tmp_path / "out.png").numpy().shape == (32, 40, 3)


@pytest.mark.parametrize("name", ["out.bmp", "out"])
def test_unknown_output_formats_list_the_known(engine: TorchEngine, save: Save, name: str) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    with pytest.raises(OutputError, match=r"\.png, \.jpg"):
        upscale_file(engine, source, source.with_name(name))


def test_transparency_is_not_lost_to_jpeg(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(9, 9, 4), "in.png")
    with pytest.raises(OutputError, match="transparency"):
        upscale_file(engine, source, source.with_name("out.jpg"))


def test_formats_have_longest_sides(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(1, 8192, 3), "in.png")
    with pytest.raises(OutputError, match="16384 pixels"):
        upscale_file(engine, source, source.with_name("out.webp"))


def test_existing_output_needs_leave(engine: TorchEngine, save: Save) -> None:
    source, target = save(smooth(9, 9, 3), "in.png"), save(smooth(2, 2, 3), "out.png")
    with pytest.raises(OutputError, match="--overwrite"):
        upscale_file(engine, source, target)
    assert read(target).width == 2
    upscale_file(engine, source, target, overwrite=True)
    assert read(target).width == 18


def test_input_is_never_overwritten(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    link = source.with_name("link.png")
    link.symlink_to(source)
    for target in (source, link):
        with pytest.raises(OutputError, match="picture to read"):
            upscale_file(engine, source, target, overwrite=True)


def test_folder_in_the_way_is_named(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    (source.parent / "out.png").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        upscale_file(engine, source, source.with_name("out.png"), overwrite=True)


def test_unwritable_folder(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    with pytest.raises(OutputError, match="can't write"):
        upscale_file(engine, source, source / "below" / "out.png")


def test_folder_without_permission(engine: TorchEngine, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(OutputError, match="permissions"):
        upscale_file(engine, source, source.with_name("out.png"))


def test_full_disk(engine: TorchEngine, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = save(smooth(9, 9, 3), "in.png"), save(smooth(2, 2, 3), "out.png")

    def full(raw: Path, picture: object, scale: int, suffix: str, path: Path, quality: int | None) -> None:
        path.write_bytes(b"half a picture")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(picture_file, "encode", full)
    with pytest.raises(OutputError, match="No space left on device"):
        upscale_file(engine, source, target, overwrite=True)
    assert read(target).width == 2
    assert leftovers(source.parent) == []


def test_failing_encoder(engine: TorchEngine, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    full_device = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(pyvips.Target, "new_to_file", lambda path: pyvips.Target.new_to_descriptor(full_device))
    with pytest.raises(OutputError, match=r"can't write .*out\.png"):
        upscale_file(engine, source, source.with_name("out.png"))
    assert leftovers(source.parent) == []


def test_interrupt_leaves_nothing(engine: TorchEngine, save: Save) -> None:
    source = save(smooth(40, 9, 3), "in.png")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upscale_file(engine, source, source.with_name("out.png"), tile=4, progress=interrupt)
    assert [p.name for p in source.parent.iterdir()] == ["in.png"]


def test_savers_know_their_formats() -> None:
    assert set(encoding.DEEP_SUFFIXES) | set(encoding.JPEG_SUFFIXES) <= set(encoding.SAVERS)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_quality_decides_the_size(bilinear: TorchEngine, save: Save, suffix: str) -> None:
    source = save(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), "in.png")
    sizes = {}
    for quality in (5, 95, None):
        upscale_file(bilinear, source, source.with_name(f"out{quality}{suffix}"), quality=quality)
        sizes[quality] = source.with_name(f"out{quality}{suffix}").stat().st_size
    assert sizes[5] < sizes[95] / 2
    assert sizes[95] == sizes[None]


@pytest.mark.parametrize(
    ("quality", "suffix", "says"),
    [
        (50, ".png", r"quality 50: \.png has none"),
        (50, ".tif", r"quality 50: \.tif has none"),
        (0, ".jpg", "quality 0: give 1"),
        (101, ".jpg", "quality 101: give 1"),
    ],
)
def test_impossible_qualities(bilinear: TorchEngine, save: Save, quality: int, suffix: str, says: str) -> None:
    source = save(smooth(9, 9, 3), "in.png")
    with pytest.raises(OutputError, match=says):
        upscale_file(bilinear, source, source.with_name(f"out{suffix}"), quality=quality)
    assert [p.name for p in source.parent.iterdir()] == ["in.png"]
