"""Random networks, quantized: the quantized network, its frozen form and all engines give one picture.

A value behind a float function (GELU, a product, bilinear upsampling) is on no lattice. Engines compute it with errors
in its last bits, so it may lie on the other side of a tie between two codes; then the picture differs by one code of
one value. ``unsure`` finds where that can happen: it moves the results of all float functions by such errors.
"""

import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from abuse_attempt import Attempt, Outcome, WrongPicture
from abuse_random_network import Product, Resized, leaves, random_network
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.frozen.sums import FrozenAdd, FrozenAddends
from srquant.errors import SRQuantError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.registry import METHODS
from srquant.models.blocks.layers import Add
from srquant.models.network import Network, modules_of
from srquant.models.wrap import wrap
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.pictures.rows import as_images

HEIGHT, WIDTH = 52, 60
WHITE = 255.0

MOST_LEVELS = 1
"""Largest difference in grey levels, but for values that lie on a tie."""

MOST_TIES = 0.01
"""Largest share of values of a picture that may differ by more because of ties."""

ENGINES = ("openvino", "onnxruntime")

FLOAT_STEPS = (
    *(nn.PReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.Softplus, nn.Hardswish, nn.Mish),
    *(nn.LayerNorm, nn.BatchNorm2d, nn.AdaptiveAvgPool2d, nn.ConvTranspose2d, nn.Conv2d, nn.Linear, Product),
)
"""Steps whose results differ between engines in their last bits; integer layers are other classes."""

SUMS = (Add, FrozenAdd, FrozenAddends)

ERROR = 2.0**-21
"""Of a float function, relative to its largest result; GELU, SiLU and Mish differ by half of that between engines."""

SHAKES = 6

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
    """Whether two pictures differ by more than ``MOST_LEVELS`` somewhere, and only where values lie on ties.

    Raises:
        WrongPicture: they differ elsewhere, or in too many values.
    """
    wrong = np.abs(levels(found) - levels(wanted)) > MOST_LEVELS
    if not wrong.any():
        return False
    surely = wrong & ~unsure(frozen, images, wanted)
    if surely.any() or wrong.mean() > MOST_TIES:
        raise WrongPicture(f"{wrong.sum()} values differ by more than a level, {surely.sum()} of them not by ties")
    return True


def levels(picture: Array) -> Array:
    """Values in [0, 1] to grey levels."""
    return np.clip(np.rint(picture * WHITE), 0, WHITE)


def unsure(frozen: Network, images: Tensor, picture: Array) -> NDArray[np.bool_]:
    """Where a picture changes by half a level when the results of float functions have errors of ``ERROR``."""
    generator = torch.Generator().manual_seed(0)
    changes = [np.abs(shaken(frozen, images, number, generator) - picture) for number in range(SHAKES)]
    return np.max(changes, 0) > 0.5 / WHITE


def shaken(frozen: Network, images: Tensor, number: int, generator: torch.Generator) -> Array:
    """The picture with errors: the first time all up, the second time all down, then each in its own direction."""

    def moved(values: Tensor) -> Tensor:
        directions = torch.randint(0, 2, values.shape, generator=generator) * 2 - 1 if number > 1 else 1 - 2 * number
        return values + directions * (ERROR * values.abs().max())

    with ExitStack() as hooks:
        for module in modules_of(frozen.module, nn.Module).values():
            if isinstance(module, SUMS) and module.scale != 1:
                hooks.callback(module.register_forward_pre_hook(before(moved)).remove)
            elif isinstance(module, FLOAT_STEPS) or (isinstance(module, Resized) and module.mode != "nearest"):
                hooks.callback(module.register_forward_hook(after(moved)).remove)
        return frozen(images).numpy()


def before(moved: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """A hook that moves the second addend of a sum, which is multiplied there."""
    return lambda module, addends: (addends[0], moved(addends[1]))


def after(moved: Callable[[Tensor], Tensor]) -> Callable[..., Any]:
    """A hook that moves a result."""
    return lambda module, inputs, result: moved(result)
