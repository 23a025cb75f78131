"""Random networks, quantized: the quantized network, its frozen form and all engines give one picture.

A value behind a float function (GELU, a product, bilinear upsampling) is on no lattice. Engines compute it with errors
in its last bits, so it may lie on the other side of a tie between two codes; then the picture differs by one code of
one value. ``codes_on_ties`` finds these codes.
"""

import random
from pathlib import Path

import numpy as np
import torch
from abuse_attempt import Attempt, Outcome, WrongPicture
from abuse_random_network import leaves, random_network
from abuse_ties import codes_on_ties
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.errors import SRQuantError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.registry import METHODS
from srquant.models.blocks.layers import Add
from srquant.models.network import Network
from srquant.models.wrap import wrap
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.pictures.rows import as_images

HEIGHT, WIDTH = 52, 60
WHITE = 255.0

MOST_LEVELS = 1
"""Largest difference in grey levels, but for values that lie on a tie."""

ENGINES = ("openvino", "onnxruntime")

Array = NDArray[np.float32]


def of_networks(folder: Path, exact: bool) -> Attempt:
    """A random network with a random policy gives one picture in all its forms, or is refused.

    Args:
        folder: empty.
        exact: whether the network has no float function before a quantizer; then there are no ties.
    """
    for number in range(4):
        Image.fromarray(leaves(48, 48, number, discs=200)).save(folder / f"{number}.png")
    calibration, images = CalibrationSet(folder, count=4, patch=48), torch.from_numpy(as_images(leaves(HEIGHT, WIDTH)))

    def attempt(chance: random.Random) -> Outcome:
        module, scale = random_network(chance, exact, images)
        policy = random_policy(chance, module, exact)
        try:
            ties = compared(wrap(module, scale), policy, calibration, images)
        except SRQuantError:
            return "refused"
        if ties and exact:
            raise WrongPicture("engines differ by more than a level, without a float function")
        return "tie" if ties else "taken"

    return attempt


def random_policy(chance: random.Random, module: nn.Module, exact: bool) -> Policy:
    """Bits from 2 to 8, ends of 8 bits or float, and every kind of grid."""
    has_sums = any(isinstance(child, Add) for child in module.modules())
    ends = (LayerBits(8, 8), LayerBits(8, 8), None)
    return Policy(
        base=LayerBits(chance.randint(2, 8), chance.randint(2, 8)),
        head=LayerBits(8, 8) if exact else chance.choice(ends),
        tail=chance.choice(ends),
        skip_bits=8 if has_sums and chance.random() < 0.5 else None,
        granularity=chance.choice(("tensor", "channel")),
        activation_granularity=chance.choice(("tensor", "channel")),
        symmetric_weights=chance.random() < 0.6,
    )


@torch.no_grad()
def compared(network: Network, policy: Policy, calibration: CalibrationSet, images: Tensor) -> bool:
    """Compare all forms of a network; whether one differs because of ties.

    Raises:
        SRQuantError: a form is refused.
        WrongPicture: one differs otherwise.
    """
    method = METHODS["mse"]
    model = method.quantize(network, calibration, policy, method.config())
    frozen = freeze(model).network
    picture = frozen(images).numpy()
    if not np.array_equal(model.network.eval()(images).numpy(), picture):
        raise WrongPicture("the frozen network differs from the quantized one")
    found = [open_engine(name, frozen)(images.numpy()) for name in ENGINES]
    ties = [has_ties(pictures, picture, frozen, images) for pictures in found]
    return any(ties)


def has_ties(found: Array, wanted: Array, frozen: Network, images: Tensor) -> bool:
    """Whether two pictures differ by more than ``MOST_LEVELS`` somewhere, because of codes on ties.

    Raises:
        WrongPicture: they differ by something else.
    """
    wrong = differing(found, wanted)
    if not wrong:
        return False
    count, nearest = codes_on_ties(found, frozen, images)
    left = differing(found, nearest)
    if left:
        raise WrongPicture(f"{wrong} values differ by more than a level, {left} of them when {count} codes are moved")
    return True


def differing(one: Array, other: Array) -> int:
    """How many values of two pictures differ by more than ``MOST_LEVELS``."""
    return int((np.abs(levels(one) - levels(other)) > MOST_LEVELS).sum())


def levels(picture: Array) -> Array:
    """Values in [0, 1] to grey levels."""
    return np.clip(np.rint(picture * WHITE), 0, WHITE)
