"""Train the x2 network that is part of the package.

    python benchmarks/train_packaged.py -o src/srquant/assets/edsr_small_x2.safetensors

Pictures: ``BSDS500_train/HR`` and ``DIV2K_test_LR/LR_bicubic/X4`` under ``$SRQUANT_SHARED/data`` (the latter are small,
sharp pictures and are used as high-resolution ones). L1 loss, Adam, cosine schedule. Half an hour to an hour on
one CPU core.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from srquant.data.resize import downscale
from srquant.models.architectures.edsr import EDSR

SCALE = 2
Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def load_pairs(folder: Path) -> list[Pair]:
    """Low and high resolution of every training picture, ``H x W x 3`` uint8."""
    files = sorted((folder / "BSDS500_train" / "HR").iterdir())
    files += sorted((folder / "DIV2K_test_LR" / "LR_bicubic" / "X4").iterdir())
    high = [np.asarray(Image.open(f).convert("RGB")) for f in files]
    return [(downscale(image, SCALE), image) for image in high]


def crop(pair: Pair, patch: int, generator: np.random.Generator) -> Pair:
    """The same random square of both, flipped and turned the same way; ``patch`` counts low-resolution pixels."""
    low, high = pair
    top = int(generator.integers(low.shape[0] - patch + 1))
    left = int(generator.integers(low.shape[1] - patch + 1))
    low = low[top : top + patch, left : left + patch]
    size = patch * SCALE
    high = high[top * SCALE : top * SCALE + size, left * SCALE : left * SCALE + size]
    turns, flip = int(generator.integers(4)), bool(generator.integers(2))
    low, high = np.rot90(low, turns), np.rot90(high, turns)
    return (low[:, ::-1], high[:, ::-1]) if flip else (low, high)


def batch(pairs: list[Pair], size: int, patch: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Input ``N x 3 x patch x patch`` and target of twice that height and width, in [0, 255]."""
    crops = [crop(pairs[int(generator.integers(len(pairs)))], patch, generator) for _ in range(size)]
    low, high = (np.stack(side).transpose(0, 3, 1, 2).astype(np.float32) for side in zip(*crops, strict=True))
    return torch.from_numpy(low), torch.from_numpy(high)


def main() -> None:
    """Train and write the weights in half precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=20000)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--patch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    generator = np.random.default_rng(arguments.seed)
    pairs = load_pairs(Path(os.environ.get("SRQUANT_SHARED", "../shared")) / "data")
    model = EDSR(arguments.blocks, arguments.features, SCALE).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    running = 0.0
    for step in range(1, arguments.steps + 1):
        low, high = batch(pairs, arguments.batch, arguments.patch, generator)
        loss = F.l1_loss(model(low), high)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        running = 0.99 * running + 0.01 * loss.item()
        if step % 500 == 0:
            print(f"step {step}  L1 {running / (1 - 0.99**step):.3f}", flush=True)
            save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, arguments.output)
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, arguments.output)
    print(f"wrote {arguments.output}")


if __name__ == "__main__":
    main()
