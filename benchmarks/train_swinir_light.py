"""Train SwinIR-light x2 for minutes: far below its published quality, but all layers have trained weights to quantize.

    python benchmarks/train_swinir_light.py -o SWINIR.safetensors --minutes 15

Pictures as in ``train_packaged.py``. L1 loss, Adam, learning rate falling to zero over the given minutes. Before that,
the first and last convolutions are trained without the body between them, as a linear filter. The body then only has to
learn details; otherwise it would need these minutes to learn to reproduce the picture.
"""

import argparse
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from train_packaged import SCALE, batch, load_pairs

from srquant.models.architectures.attention.swinir import SwinIR

RATE = 4e-4
"""Adam's for the whole network, reached after a twentieth of the time."""

WARM_UP = 1500
"""Steps of the ends alone."""

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]
"""Low and high resolution, in [0, 1]."""


def warm_up(model: SwinIR, batches: Batches) -> None:
    """Train the first and last convolutions of a network whose body still adds nothing, in place."""
    torch.nn.init.zeros_(model.conv_after_body.weight)
    torch.nn.init.zeros_(model.conv_after_body.bias)
    ends = torch.nn.Sequential(model.sub_mean, model.conv_first, model.upsample, model.add_mean)
    optimizer, running = torch.optim.Adam(ends.parameters(), lr=1e-3), 0.0
    for low, high in islice(batches, WARM_UP):
        loss = F.l1_loss(ends(low), high)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running = 0.98 * running + 0.02 * loss.item()
    print(f"ends alone  L1 {255 * running:.3f} grey levels", flush=True)


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
    size, patch = arguments.batch, arguments.patch
    batches = ((low / 255, high / 255) for low, high in iter(lambda: batch(pairs, size, patch, generator), None))
    warm_up(model, batches)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    start, step, running = time.monotonic(), 0, 0.0
    while (elapsed := (time.monotonic() - start) / 60 / arguments.minutes) < 1:
        optimizer.param_groups[0]["lr"] = RATE * min(1, 20 * elapsed) * (1 - elapsed)
        low, high = next(batches)
        loss = F.l1_loss(model(low), high)
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
