"""How far into a tile its border changes the result, measured where theory says much more than can be seen.

The receptive field of a deep network is far larger than the part of it that matters: for six blocks of RRDBNet theory
says 94 pixels, and after 59 the result is right to half a grey level.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.devices import CPU
from srquant.models.network import Facts

NARROW, FARTHEST = 32, 128
"""Short side of the test pictures, and the largest distance from a cut that is measured."""

SAME = 0.5
"""Largest difference, in grey levels of 255, that counts as the same result: real pictures then stay within one."""

OCTAVES, ROUGHNESS, CONTRAST = 6, 0.7, 0.2
"""The test pictures: layers of noise, each twice as coarse as the one before and ``2**0.7`` times as strong."""


@torch.no_grad()
def differences_from_cut(
    upscale: Callable[[Tensor], Tensor], facts: Facts, alignment: int, device: torch.device = CPU
) -> Tensor:
    """Largest difference by distance from a cut, between a picture and one of its halves upscaled alone.

    Args:
        upscale: the network in evaluation mode, or an engine that runs it.
        facts: of the network.
        alignment: cuts are at multiples of it.
        device: where pictures for the network must be.

    Returns:
        Grey levels for each input row or column behind the cut, at all four sides, on the CPU.
    """
    half = math.ceil(FARTHEST / alignment) * alignment
    narrow = NARROW + facts.padding(NARROW)
    found = []
    for axis, size in ((2, (2 * half, narrow)), (3, (narrow, 2 * half))):
        picture = texture(*size).to(device)
        wholes = torch.chunk(upscale(picture), 2, axis)
        parts = [upscale(part) for part in torch.chunk(picture, 2, axis)]
        before, behind = (by_row(whole - part, axis, facts.scale) for whole, part in zip(wholes, parts, strict=True))
        found += [before.flip(0), behind]
    return torch.stack(found).amax(0)


def by_row(difference: Tensor, axis: int, scale: int) -> Tensor:
    """Largest magnitude of a difference in each input row (axis 2) or column (axis 3), in grey levels, on the CPU."""
    others = [other for other in range(4) if other != axis]
    return 255 * difference.abs().amax(others).float().cpu().view(-1, scale).amax(1)


def overlap_of(differences: Tensor) -> int:
    """Columns behind the cut until the result stays the same to ``SAME`` grey levels."""
    seen = (differences > SAME).nonzero()
    return int(seen.max()) + 1 if len(seen) else 0


def texture(rows: int, columns: int) -> Tensor:
    """A picture with detail of all sizes, ``1 x 3 x rows x columns`` in [0, 1]; always the same."""
    generator, total = torch.Generator().manual_seed(0), torch.zeros(1, 3, rows, columns)
    for octave in range(OCTAVES):
        size = [max(2, side >> octave) for side in (rows, columns)]
        noise = torch.rand(1, 3, *size, generator=generator) - 0.5
        total += 2 ** (ROUGHNESS * octave) * F.interpolate(noise, (rows, columns), mode="bilinear")
    return (0.5 + CONTRAST * total / total.std()).clamp(0, 1)
