"""Train SwinIR-light x2 briefly: far from its published quality, but every layer has learned weights to quantize.

    python benchmarks/train_swinir_light.py -o SWINIR.safetensors --minutes 15

Pictures as in ``train_packaged.py``. L1 loss, Adam, learning rate falling to zero as the minutes pass.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from train_packaged import SCALE, batch, load_pairs

from srquant.models.swinir import SwinIR


def main() -> None:
    """Train and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    generator = np.random.default_rng(arguments.seed)
    pairs = load_pairs(Path(os.environ.get("SRQUANT_SHARED", "../shared")) / "data")
    model = SwinIR(scale=SCALE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start, step, running = time.monotonic(), 0, 0.0
    while (elapsed := (time.monotonic() - start) / 60 / arguments.minutes) < 1:
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - elapsed)
        low, high = batch(pairs, arguments.batch, arguments.patch, generator)
        loss = F.l1_loss(model(low / 255), high / 255)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        running = 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"step {step}  L1 {255 * running / (1 - 0.98**step):.3f} grey levels", flush=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, arguments.output)
    print(f"wrote {arguments.output} after {step} steps")


if __name__ == "__main__":
    main()
