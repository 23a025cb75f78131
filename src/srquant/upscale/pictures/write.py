"""Write upscaled rows to a picture file, with alpha, ICC profile, XMP and IPTC of the source."""

import os
from collections.abc import Iterable
from pathlib import Path

from srquant.data.formats.load import load
from srquant.data.vips import pyvips
from srquant.errors import OutputError
from srquant.upscale.pictures.metadata.exif import for_upright
from srquant.upscale.pictures.pillow_picture import PillowPicture
from srquant.upscale.pictures.read import EXIF_START, Picture
from srquant.upscale.pictures.reading import check_output

SAVERS: dict[str, dict[str, str | int | bool]] = {
    ".png": {"compression": 6},
    ".jpg": {"Q": 95, "subsample_mode": "off"},
    ".jpeg": {"Q": 95, "subsample_mode": "off"},
    ".webp": {"Q": 95},
    ".tif": {"compression": "lzw", "predictor": "horizontal", "bigtiff": True},
    ".tiff": {"compression": "lzw", "predictor": "horizontal", "bigtiff": True},
}
"""libvips options by suffix."""

DEEP_SUFFIXES = (".png", ".tif", ".tiff")
JPEG_SUFFIXES = (".jpg", ".jpeg")
LONGEST_SIDE = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
KEEP_EXIF, KEEP_XMP, KEEP_OTHERS = 1, 2, 4 | 8 | 16
"""libvips' ``VipsForeignKeep``; the others are IPTC, ICC profile and texts of TIFF."""

MOST_RESOLUTION = 1e6
"""Pixels per millimetre, libvips' limit."""

METADATA = ("icc-profile-data", "iptc-data", "xmp-data", "image-description", "resolution-unit")


def check_format(picture: Picture | PillowPicture, target: Path, scale: int) -> None:
    """Check that the target's format can store the picture.

    Raises:
        ImageError: the result would be larger than what may be written.
        OutputError: unknown suffix, alpha in JPEG, or more pixels along a side than the format allows.
    """
    check_suffix(target)
    suffix = target.suffix.lower()
    if suffix in JPEG_SUFFIXES and picture.has_alpha:
        raise OutputError(f"{target}: JPEG can't hold the transparency of {picture.path}; write .png, .webp or .tif")
    check_output(picture.path, picture.height, picture.width, scale, picture.reading.most_output)
    longest = scale * max(picture.height, picture.width)
    if longest > LONGEST_SIDE.get(suffix, longest):
        raise OutputError(f"{target}: {longest} pixels along a side are more than {suffix} allows; write .png or .tif")


def check_suffix(target: Path) -> None:
    """Raise an ``OutputError`` unless pictures can be written in the format of a file's suffix."""
    suffix = target.suffix.lower()
    if not suffix:
        raise OutputError(f"{target}: no suffix to tell the format; use {', '.join(SAVERS)}, or {target}/ for a folder")
    if suffix not in SAVERS:
        raise OutputError(f"{target}: can't write {suffix}; use {', '.join(SAVERS)}")


def encode(stored: Path, picture: Picture, scale: int, suffix: str, target: Path, quality: int | None = None) -> None:
    """Write a picture file.

    Args:
        stored: PNG file of the upscaled colour bands.
        picture: the source.
        scale: upscaling factor.
        suffix: of the format, e.g. ``.png``.
        target: file to write; its name doesn't decide the format.
        quality: of JPEG and WebP, 1..100; None: that of ``SAVERS``.

    Raises:
        pyvips.Error: the source's alpha can't be read, or the target can't be written.
    """
    image = assemble(stored, picture, scale)
    if suffix not in DEEP_SUFFIXES and image.format == "ushort":
        image = to_8_bit(image)
    keep = kept_by_libvips(suffix, has_exif=picture.carried.exif is not None)
    options = options_of(suffix, quality)
    image.write_to_target(pyvips.Target.new_to_file(os.fsencode(target)), suffix, keep=keep, **options)


def options_of(suffix: str, quality: int | None) -> dict[str, str | int | bool]:
    """What libvips takes, with a quality if one is given and the format has one."""
    options = SAVERS[suffix]
    return options if quality is None or not has_quality(suffix) else options | {"Q": quality}


def has_quality(suffix: str) -> bool:
    """Whether a format loses more or less, as a quality says."""
    return "Q" in SAVERS.get(suffix, {})


def check_quality(quality: int | None, targets: Iterable[Path]) -> None:
    """Check, before any picture is upscaled, that a quality fits to what will be written.

    Raises:
        OutputError: it isn't in 1..100, or there are targets, and none has a format with a quality.
    """
    if quality is None:
        return
    if not 1 <= quality <= 100:
        raise OutputError(f"quality {quality}: give 1 (smallest file) to 100 (best picture)")
    suffixes = sorted({target.suffix.lower() for target in targets})
    if suffixes and not any(map(has_quality, suffixes)):
        raise OutputError(
            f"quality {quality}: {', '.join(suffixes)} has none, only {', '.join(filter(has_quality, SAVERS))} have; "
            "leave it out, or choose another format"
        )


def kept_by_libvips(suffix: str, has_exif: bool) -> int:
    """What libvips writes: EXIF in WebP alone, and XMP in all but PNG; ``finish`` writes the rest."""
    exif = KEEP_EXIF if suffix == ".webp" and has_exif else 0
    return KEEP_OTHERS | exif | (0 if suffix == ".png" else KEEP_XMP)


def assemble(stored: Path, picture: Picture, scale: int) -> pyvips.Image:
    """The upscaled picture with alpha and metadata; libvips computes it while it is written."""
    source = picture.image
    image = load(stored, "sequential")
    alpha = picture.alpha()
    if alpha is not None:
        image = image.bandjoin(alpha.resize(scale, kernel="cubic"))
    if picture.carried.resolution is not None:
        across, down = (min(value, MOST_RESOLUTION) for value in picture.carried.resolution)
        image = image.copy(xres=across, yres=down)
    for name in METADATA:
        if source.get_typeof(name):
            image.set_type(source.get_typeof(name), name, source.get(name))
    if picture.carried.exif is not None:
        exif = for_upright(picture.carried.exif, scale * picture.height, scale * picture.width)
        image.set_type(pyvips.GValue.blob_type, "exif-data", EXIF_START + exif)
    return image


def to_8_bit(image: pyvips.Image) -> pyvips.Image:
    """16 bit to 8 bit: 65535 becomes 255."""
    shallow = (image / 257).rint().cast("uchar")
    return shallow.copy(interpretation="b-w" if image.bands < 3 else "srgb")
