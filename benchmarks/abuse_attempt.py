"""What an attempt of any kind is, and what may come of it."""

import random
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from srquant.errors import SRQuantError
from srquant.models.load import build
from srquant.models.network import Network

SIZES = {"blocks": 1, "features": 8}
SIDE = 24

Outcome = Literal["refused", "taken", "tie"]
"""Refused by an error of srquant; taken: the result is right; tie: right but for values that lie on a tie."""

Attempt = Callable[[random.Random], Outcome]
"""Tries something. Any other error than srquant's is a failure."""


class WrongPicture(Exception):
    """Something was taken, and gave another picture than it should."""


def taken_or_refused(use: Callable[[], object]) -> Outcome:
    """Whether srquant refuses; other errors go on."""
    try:
        use()
    except SRQuantError:
        return "refused"
    return "taken"


def network() -> Network:
    """A small EDSR with random weights."""
    torch.manual_seed(0)
    return build("edsr", SIZES).eval()


def pixels(seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    """A picture of noise, ``side x side x 3``."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
