"""8 bits beside what makers of hardware publish: PSNR of all colours on B100, float and int8.

    python benchmarks/vendors.py -o RUNS
    python benchmarks/vendors.py -o RUNS --assemble docs/results/vendors

``srquant quantize -w 8 -a 8`` without other options; OpenVINO upscales. Finished networks are not repeated.
Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import report
from finished import finished, path_of

CALIBRATION, BENCHMARK = "data/DIV2K_test_LR/LR_bicubic/X4", "data/B100"

NETWORKS = {
    "Real-ESRGAN general v3, x4": "srvgg_compact/realesr-general-x4v3_fp16.pth",
    "EDSR, 8 blocks, x2": "edsr/edsr_r8f64_x2.pt",
    "EDSR, 16 blocks, x4": "edsr/edsr_r16f64_x4_own.pt",
}
"""By name: the checkpoint below ``weights``."""


@dataclass(frozen=True)
class Row:
    """A network, in float and at 8 bits.

    Attributes:
        source: who measured it.
        network: its name.
        data: the pictures, as far as they are known.
        before: PSNR of all colours of the float network, dB.
        after: of the 8-bit one.
        against: the same of the 8-bit network's pictures against the float network's; None if it isn't known.
    """

    source: str
    network: str
    data: str
    before: float
    after: float
    against: float | None


PUBLISHED = (
    Row("Qualcomm AI Hub", "Real-ESRGAN general v3, x4, W8A8", "not named", 27.1, 27.2, None),
    Row("Apple, Core ML Tools", "EDSR, 16 blocks, x2, W8A8", "B100", 30.68, 30.33, None),
)

ABOUT = """\
PSNR of all three colours (not of the luminance, as in the other tables), without a border of as many pixels as the
scale. Published rows: as their makers print them; pictures, border and calibration of the first one aren't known, so
that only the differences between float and 8 bits can be compared. Real-ESRGAN's networks change the picture on
purpose, so that their PSNR against the original says little: the last column compares the 8-bit picture with the
float network's."""

COLUMNS = {
    "source": "measured by",
    "network": "network",
    "data": "pictures",
    "before": "float, dB",
    "after": "8 bits, dB",
    "against": "8 bits against float, dB",
}


def measure(name: str) -> Row:
    """Quantize and evaluate one network."""
    shared = Path(os.environ["SRQUANT_SHARED"])
    model, scale = shared / "weights" / NETWORKS[name], int(name[-1])
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "quantized.safetensors")
        srquant("quantize", model, "--calibration", shared / CALIBRATION, "-w", 8, "-a", 8, "-o", output)
        before, after = (psnr(file, "--data", shared / BENCHMARK) for file in (model, output))
        lows = shared / BENCHMARK / "LR_bicubic" / f"X{scale}"
        against = psnr(output, "--data", lows, "--against", model)
    return Row("srquant", name, Path(BENCHMARK).name, before, after, against)


def psnr(model: Path, *options: object) -> float:
    """Mean PSNR of all colours."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "scores.json")
        srquant("evaluate", model, *options, "--engine", "openvino", "--metric", "psnr-rgb", "--json", found)
        return float(json.loads(found.read_text())["psnr-rgb"])


def srquant(*arguments: object) -> None:
    """Run the command line with one thread."""
    command = [sys.executable, "-m", "srquant", *map(str, arguments)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def main() -> None:
    """Measure, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS", help="folder of finished networks")
    parser.add_argument("--assemble", type=Path, metavar="OUTPUT", help="only write OUTPUT.json and OUTPUT.md")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    if given.assemble:
        report.write(
            given.assemble, "Beside makers of hardware", ABOUT, [*PUBLISHED, *finished(given.output, NETWORKS)], COLUMNS
        )
        return
    for name in NETWORKS:
        path = path_of(given.output, name)
        if not path.exists():
            path.write_text(json.dumps(asdict(measure(name))) + "\n")


if __name__ == "__main__":
    main()
