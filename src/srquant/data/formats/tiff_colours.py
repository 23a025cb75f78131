"""TIFF files whose colours libvips passes on as if they were RGB, or refuses: YCbCr without JPEG, and Lab of 8 bits."""

from pathlib import Path
from typing import Any

from srquant.data.formats.tiff_tags import Directory, Layout, read_directory
from srquant.errors import ImageError

BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 258, 259, 262, 277
EXTRA_SAMPLES, COEFFICIENTS, SUBSAMPLING, BLACK_WHITE = 338, 529, 530, 532
RGB, YCBCR, LAB = 2, 6, 8
JPEG = 7

TO_RGB = [[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]]
"""ITU-R BT.601 with full range, which TIFF takes where a file names nothing else."""

USUAL_COEFFICIENTS = (0.299, 0.587, 0.114)
USUAL_RANGES = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


def first_directory(path: Path) -> Directory:
    """The tags of the first picture; errors as ``read_directory``, as an ``ImageError``."""
    with path.open("rb") as file:
        found = read_directory(file)
    if found is None:
        raise ImageError(f"can't read {path} as a picture (damaged TIFF tags): replace the file or leave it out")
    return found


def is_lab_of_8_bits(tags: Directory) -> bool:
    """Whether colours are CIE L*a*b* in bytes, which libvips takes for a format of its own."""
    return tags.first(PHOTOMETRIC, RGB) == LAB and set(tags.values(BITS)) == {8}


def is_plain_ycbcr(tags: Directory) -> bool:
    """Whether colours are Y'CbCr that no JPEG decoder turns into RGB."""
    return tags.first(PHOTOMETRIC, RGB) == YCBCR and tags.first(COMPRESSION, 1) != JPEG


def as_rgb_bytes(path: Path, tags: Directory) -> bytes:
    """The content of a file of bytes, with RGB named as its colours, so that libvips reads the bytes as they are.

    Raises:
        ImageError: it has more than three samples per pixel.
    """
    if tags.first(SAMPLES, 1) != 3:
        raise refused(path, f"Lab with {tags.first(SAMPLES, 1)} samples per pixel")
    content = bytearray(path.read_bytes())
    at = tags.tags[PHOTOMETRIC].at + (12 if tags.layout.big else 8)
    content[at : at + 2] = short(RGB, tags.layout)
    return bytes(content)


def short(value: int, layout: Layout) -> bytes:
    """A number of two bytes."""
    return value.to_bytes(2, "little" if layout.order == "<" else "big")


def lab_from_bytes(image: Any) -> Any:
    """L* in 0..255 and a*, b* as signed bytes, to Lab as libvips knows it."""
    lightness = image[0] * (100 / 255)
    signed = [image[band].copy(format="char").cast("float") for band in (1, 2)]
    return lightness.bandjoin(signed).copy(interpretation="lab")


def rgb_from_ycbcr(path: Path, image: Any, tags: Directory) -> Any:
    """Y'CbCr to RGB, 8 bit.

    Args:
        path: the file.
        image: as libvips gives it: Y'CbCr if each pixel has its own colour, else RGB with an alpha that isn't there.
        tags: of the file.

    Raises:
        ImageError: other coefficients, other ranges, or other samples than TIFF's usual ones.
    """
    if not is_usual(tags):
        raise refused(path, "Y'CbCr colours with coefficients, ranges or samples of its own")
    if image.bands == 4:
        return image[:3]
    if tags.values(SUBSAMPLING) != (1, 1):
        raise refused(path, "Y'CbCr colours in a form that isn't known")
    return (image - [0, 128, 128]).recomb(TO_RGB).rint().cast("uchar").copy(interpretation="srgb")


def is_usual(tags: Directory) -> bool:
    """Whether Y'CbCr is of three bytes with the coefficients and ranges that TIFF takes by default."""
    usual = fractions(tags, COEFFICIENTS, USUAL_COEFFICIENTS) == USUAL_COEFFICIENTS
    full = fractions(tags, BLACK_WHITE, USUAL_RANGES) == USUAL_RANGES
    return usual and full and EXTRA_SAMPLES not in tags.tags and set(tags.values(BITS)) == {8}


def fractions(tags: Directory, number: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """The fractions of a tag to three digits; the default if it isn't there."""
    if number not in tags.tags:
        return default
    parts = tags.values(number)
    return tuple(round(top / max(1, bottom), 3) for top, bottom in zip(parts[::2], parts[1::2], strict=True))


def refused(path: Path, what: str) -> ImageError:
    """The error for colours that nothing here reads."""
    return ImageError(f"{path} has {what}: convert it to RGB")
