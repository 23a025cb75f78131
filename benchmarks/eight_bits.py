"""8 bits by default: what ``srquant quantize -w 8 -a 8`` without other options costs, network by network.

    python benchmarks/eight_bits.py -o RUNS                          all networks
    python benchmarks/eight_bits.py -o RUNS --network 'RLFN*'        some of them
    python benchmarks/eight_bits.py -o RUNS --assemble docs/results/eight_bits

The command line quantizes, and evaluates the float and the quantized network in OpenVINO on the first benchmark set.
Finished networks are not repeated. Pictures and weights: ``$SRQUANT_SHARED``.
"""

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import report
from finished import finished, path_of

from srquant.deploy.file.save_load import load
from srquant.insertion.policy import Policy

CALIBRATION, BENCHMARK = "data/DIV2K_test_LR/LR_bicubic/X4", "data/Set5"

NETWORKS = {
    "EDSR, 8 blocks, x2": "edsr/edsr_r8f64_x2.pt",
    "EDSR, 16 blocks, x4": "edsr/edsr_r16f64_x4_own.pt",
    "RDN, x2": "rdn/rdn_idealo_D10C3G64_x2.pth",
    "SRResNet, 16 blocks, x4": "srresnet/srresnet_bn_r16f64_x4_tanh.pth",
    "RLFN, x4": "rlfn/rlfn_x4.pth",
    "RFDN, x4": "rfdn/RFDN_AIM_x4.pth",
    "SPAN, x4": "span/team46_span_x4.pth",
    "CARN, x2": "carn/carn_x2_only.pth",
    "rnet, x4": "edsr_like/rnet_r9f64_x4.pth",
    "IMDTN, x4": "imdtn_swin/team09_imdtn_x4.pth",
    "DAT-light, x2": "dat/DAT_light_x2_nobuf.pth",
}
"""By name: the checkpoint below ``weights``."""


@dataclass(frozen=True)
class Result:
    """A network at 8 bits.

    Attributes:
        network: its name.
        before: Y-PSNR of the float network, dB.
        after: of the quantized one.
        loss: the difference.
        grids: that were chosen.
        kept: names of the layers that stayed float.
        seconds: of ``srquant quantize``, with one thread.
    """

    network: str
    before: float
    after: float
    loss: float
    grids: str
    kept: str
    seconds: float


def measure(name: str) -> Result:
    """Quantize and evaluate one network."""
    shared = Path(os.environ["SRQUANT_SHARED"])
    model = shared / "weights" / NETWORKS[name]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "quantized.safetensors")
        start = time.perf_counter()
        srquant("quantize", model, "--calibration", shared / CALIBRATION, "-w", 8, "-a", 8, "-o", output)
        seconds = time.perf_counter() - start
        before, after = psnr(model, shared, Path(folder)), psnr(output, shared, Path(folder))
        policy = load(output).policy
    return Result(name, before, after, before - after, f"per {policy.granularity}", kept_float(policy), seconds)


def kept_float(policy: Policy) -> str:
    """The layers that the method kept float."""
    return ", ".join(override.pattern for override in policy.overrides if override.bits is None) or "none"


def psnr(model: Path, shared: Path, folder: Path) -> float:
    """Mean Y-PSNR on the benchmark set."""
    found = folder / "scores.json"
    srquant("evaluate", model, "--data", shared / BENCHMARK, "--engine", "openvino", "--json", found)
    return float(json.loads(found.read_text())["psnr_y"])


def srquant(*arguments: object) -> None:
    """Run the command line with one thread."""
    command = [sys.executable, "-m", "srquant", *map(str, arguments)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def assemble(runs: Path, output: Path) -> None:
    """The table of all finished networks."""
    columns = {
        "network": "network",
        "before": "float, dB",
        "after": "8 bits, dB",
        "loss": "loss, dB",
        "grids": "grids",
        "kept": "float layers",
        "seconds": "seconds to quantize",
    }
    report.write(output, "8 bits by default", ABOUT, finished(runs, NETWORKS), columns)


ABOUT = (
    "`srquant quantize -w 8 -a 8` without other options: `auto`, 100 crops, seed 0. Y-PSNR on Set5 of the float "
    "network and of the integer network, both in OpenVINO. Other programs ran on the two cores meanwhile, so the "
    "seconds are too many."
)


def main() -> None:
    """Measure networks, or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="RUNS", help="folder of finished networks")
    parser.add_argument("--network", default="*", help="name or pattern")
    parser.add_argument("--assemble", type=Path, metavar="OUTPUT", help="only write OUTPUT.json and OUTPUT.md")
    arguments = parser.parse_args()
    if arguments.assemble:
        assemble(arguments.output, arguments.assemble)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        path = path_of(arguments.output, name)
        if fnmatch.fnmatch(name, arguments.network) and not path.exists():
            path.write_text(json.dumps(asdict(measure(name))) + "\n")


if __name__ == "__main__":
    main()
