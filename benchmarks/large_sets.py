"""Test2K and Test4K, the large pictures of AdaBM and the outlier-aware paper, from DIV8K.

    python benchmarks/large_sets.py DIV8K_TRAIN -o SETS
    srquant evaluate MODEL --data SETS/Test2K --patch 96

The sets are those of ClassSR: pictures 1201 to 1300 of DIV8K's training set become Test2K, 1301 to 1400 Test4K. Their
files are named by these numbers. Each is made smaller by MATLAB's bicubic and a whole factor, so that its longer side
has about 1920 or 3840 pixels; the papers only say that the pictures are made smaller. ``--every NAME`` takes every
picture of the folder for one set, so that other pictures can stand for it.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srquant.data.find import list_images
from srquant.data.images import image_size, png_bytes, read_rgb
from srquant.data.resize import downscale
from srquant.errors import InputError
from srquant.files import write_whole


@dataclass(frozen=True)
class LargeSet:
    """A set.

    Attributes:
        name: of its folder.
        numbers: DIV8K's pictures, by the names of their files.
        side: pixels of the longer side, about.
    """

    name: str
    numbers: range
    side: int


SETS = (LargeSet("Test2K", range(1201, 1301), 1920), LargeSet("Test4K", range(1301, 1401), 3840))


def pictures_of(large: LargeSet, found: Sequence[Path]) -> list[Path]:
    """The set's pictures among those of DIV8K.

    Raises:
        InputError: some are missing.
    """
    by_number = {int(path.stem): path for path in found if path.stem.isdecimal()}
    missing = [number for number in large.numbers if number not in by_number]
    if missing:
        raise InputError(
            f"{large.name} needs DIV8K's pictures {large.numbers[0]} to {large.numbers[-1]}: {len(missing)} are "
            f"missing, the first is {missing[0]:04}.png; give the folder that has them, or --every {large.name}"
        )
    return [by_number[number] for number in large.numbers]


def factor(size: tuple[int, int], side: int) -> int:
    """How many times smaller a picture becomes, at least 1.

    Args:
        size: height and width in pixels.
        side: pixels that the longer one is to have, about.
    """
    return max(1, round(max(size) / side))


def build(large: LargeSet, pictures: Sequence[Path], output: Path) -> Path:
    """Write the high-resolution pictures of a set; those that are there already stay. Returns the set's folder."""
    folder = output / large.name
    (folder / "HR").mkdir(parents=True, exist_ok=True)
    for path in pictures:
        target = folder / "HR" / f"{path.stem}.png"
        if not target.exists():
            write_whole(target, png_bytes(smaller(path, large.side)))
    return folder


def smaller(path: Path, side: int) -> NDArray[np.uint8]:
    """The picture, ``H x W x 3``, 8 bit."""
    image, times = read_rgb(path), factor(image_size(path), side)
    return image if times == 1 else downscale(image, times)


def main() -> int:
    """Build the sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="DIV8K's training pictures")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SETS", help="folder of the sets")
    parser.add_argument("--every", choices=[large.name for large in SETS], help="take every picture, for this set")
    arguments = parser.parse_args()
    try:
        found = list_images(arguments.folder)
        for large in SETS:
            if arguments.every in (None, large.name):
                folder = build(large, found if arguments.every else pictures_of(large, found), arguments.output)
                print(f"{folder}: {len(list_images(folder / 'HR'))} pictures")
    except InputError as error:
        print(f"large_sets: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
