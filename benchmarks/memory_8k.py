"""Peak memory of upscaling pictures up to 3840x2160 -> 7680x4320: bounded by the tile, not by the picture.

    python benchmarks/memory_8k.py --engines openvino torch -o docs/results/memory_8k

Each run is a separate process. The peak is the one that the system reports for it (``ru_maxrss``); it includes the
interpreter, the libraries and compiling the network. Writes OUTPUT.json and OUTPUT.md.
Weights: ``edsr_r8f64_x2.pt`` under ``$SRQUANT_SHARED``.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pyvips
import report

SIZES = ((64, 64), (960, 540), (1920, 1080), (3840, 2160))
LIMIT_MB = 1500


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        engine: name of the engine.
        tile: side of a tile in input pixels, or ``auto``.
        width: of the input.
        height: of the input.
        peak_rss_mb: largest resident memory of the process, in 10**6 bytes.
        seconds: from opening the picture to the finished file.
    """

    engine: str
    tile: str
    width: int
    height: int
    peak_rss_mb: int
    seconds: float


def write_picture(path: Path, width: int, height: int) -> None:
    """A smooth random RGB picture."""
    bands = [pyvips.Image.perlin(width, height, cell_size=32, seed=seed) for seed in range(3)]
    picture = (bands[0].bandjoin(bands[1:]) * 127 + 128).cast("uchar").copy(interpretation="srgb")
    picture.write_to_file(str(path))


def upscale(engine: str, tile: str, weights: Path, source: Path, target: Path) -> None:
    """Upscale one picture, then print peak memory and seconds as JSON; runs in its own process."""
    from srquant.models.load import load_model
    from srquant.upscale.engines.open_engine import open_engine
    from srquant.upscale.jobs.one_picture import upscale_file

    opened = open_engine(engine, load_model(weights))
    start = time.perf_counter()
    upscale_file(opened, source, target, tile="auto" if tile == "auto" else int(tile))
    seconds = time.perf_counter() - start
    print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6, round(seconds, 1)]))


def measure(engine: str, tile: str, weights: Path, width: int, height: int) -> Row:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.png"), Path(folder, "out.png")
        write_picture(source, width, height)
        command = [sys.executable, __file__, "--one", engine, tile, str(weights), str(source), str(target)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        result = pyvips.Image.new_from_file(str(target))
        if (result.width, result.height) != (2 * width, 2 * height):
            raise RuntimeError(f"{result.width}x{result.height} is not twice {width}x{height}")
    peak, seconds = json.loads(run.stdout)
    return Row(engine, tile, width, height, peak, seconds)


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(os.environ.get("SRQUANT_SHARED", "../shared"))
    parser.add_argument("--weights", type=Path, default=shared / "weights" / "edsr" / "edsr_r8f64_x2.pt")
    parser.add_argument("--engines", nargs="+", default=["openvino", "torch"])
    parser.add_argument("--tile", default="auto")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for engine in arguments.engines:
        for width, height in SIZES:
            rows.append(measure(engine, arguments.tile, arguments.weights, width, height))
            print(rows[-1], flush=True)
    about = f"EDSR 8x64 x2, whole process. Bar: 7680x4320 under {LIMIT_MB} MB."
    columns = {
        "engine": "engine",
        "tile": "tile",
        "width": "input width",
        "height": "input height",
        "peak_rss_mb": "peak MB",
        "seconds": "s",
    }
    report.write(arguments.output, "Peak memory of upscaling", about, rows, columns)
    worst = max(r.peak_rss_mb for r in rows)
    sys.exit(f"peak of {worst} MB is over {LIMIT_MB} MB" if worst > LIMIT_MB else 0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        upscale(sys.argv[2], sys.argv[3], *map(Path, sys.argv[4:]))
    else:
        main()
