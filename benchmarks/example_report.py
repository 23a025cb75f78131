"""The example of docs/report.md: the packaged network and three quantized forms of it, on parts of two CC0 pictures.

    python benchmarks/example_report.py -o docs/images/example_report.html

The other pictures of ``$SRQUANT_SHARED/data/gb82`` (CC0) serve for calibration. The commands run in a folder of their
own, so that the page names files without folders.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from srquant.cli.demo_pictures import write_png
from srquant.data.images import read_rgb
from srquant.data.resize import downscale
from srquant.models.packaged import DEFAULT

SHOWN = {"dog-lossless": (60, 100), "guitar-lossless": (120, 210)}
"""Row and column of the part that is shown, by picture."""

SIDE = 320
"""Of that part, in pixels."""

FILES: Mapping[str, tuple[str, ...]] = {
    "w8a8.safetensors": ("--method", "tails", "--activation-granularity", "channel", "-w", "8", "-a", "8"),
    "w4a4_minmax.safetensors": ("--method", "minmax", "-w", "4", "-a", "4"),
    "w4a4_distill.safetensors": ("--method", "distill", "--effort", "quick", "-w", "4", "-a", "4"),
}


def pictures(source: Path, folder: Path) -> None:
    """Write the set ``gb82`` and the folder ``LR_PICTURES``."""
    for path in sorted(source.glob("*.png")):
        picture = read_rgb(path)
        if path.stem in SHOWN:
            top, left = SHOWN[path.stem]
            part = picture[top : top + SIDE, left : left + SIDE]
            write_png(part, folder / "gb82" / "HR" / f"{path.stem.removesuffix('-lossless')}.png")
        else:
            write_png(downscale(picture, 2), folder / "LR_PICTURES" / path.name)


def main() -> None:
    """Quantize, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output.resolve()
    with tempfile.TemporaryDirectory() as name:
        pictures(Path(os.environ["SRQUANT_SHARED"], "data", "gb82", "HR"), Path(name))

        def srquant(*arguments: str) -> None:
            subprocess.run([sys.executable, "-m", "srquant", *arguments], cwd=name, check=True)

        calibration = ("--calibration", "LR_PICTURES", "--count", "23")
        for file, options in FILES.items():
            srquant("quantize", DEFAULT, *options, *calibration, "-o", file)
        srquant("report", *FILES, "--reference", DEFAULT, "--data", "gb82", "-o", "report.html")
        output.write_bytes(Path(name, "report.html").read_bytes())


if __name__ == "__main__":
    main()
