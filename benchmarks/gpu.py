"""One step of ``gpu.sh``: what a GPU changes.

    python benchmarks/gpu.py STEP --device cuda --work FOLDER --output docs/results/gpu

STEP: ``quantize`` (times of all post-training methods), ``agreement`` (pictures of the networks that ``quantize`` made,
on the CPU and on the device), ``engines`` (times of EDSR's body), ``training`` (bfloat16, NCCL with one process),
``qat`` (QuantSR learns from the float network's pictures), ``distill`` (the method of this name, longest effort).
"""

import argparse
from pathlib import Path

import torch
from gpu_distill import distill
from gpu_engines import engines
from gpu_quantize import agreement, quantize
from gpu_setting import Setting
from gpu_store import Store
from gpu_training import qat, training

STEPS = {
    "quantize": quantize,
    "agreement": agreement,
    "engines": engines,
    "training": training,
    "qat": qat,
    "distill": distill,
}


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--work", type=Path, required=True, help="folder that the steps of one run share")
    parser.add_argument("--output", type=Path, required=True, help="path without suffix")
    parser.add_argument("--qat-steps", type=int, default=200, help="of quantization-aware training")
    parser.add_argument("--small", action="store_true", help="tiny networks and pictures, to show that it runs")
    given = parser.parse_args()
    torch.manual_seed(0)
    given.work.mkdir(parents=True, exist_ok=True)
    setting = Setting(torch.device(given.device), given.small, given.work, 2 if given.small else given.qat_steps)
    STEPS[given.step](setting, Store(given.output, given.step, setting))


if __name__ == "__main__":
    main()
