"""Running a network of three branches: which one, for pictures in memory and for those that come in tiles."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from srquant.grids.picture_density import density_of, gradient_density, gradient_sum, gray
from srquant.insertion.branched_network import MIDDLE, BranchedNetwork
from srquant.models.network import Network
from srquant.upscale.pictures.rows import Rows, as_images

if TYPE_CHECKING:
    from srquant.upscale.engines.engines import Engine

BAND = 256
"""Rows that are looked at together."""


class BranchingEngine:
    """An ``Engine`` per branch, prepared when the first picture asks for it.

    Args:
        network: its branches are alike but for their bits.
        open_branch: opens the engine of one.
    """

    def __init__(self, network: BranchedNetwork, open_branch: "Callable[[Network], Engine]") -> None:
        self.network: Network = network
        self.branched = network
        self.open_branch = open_branch
        self.opened = {MIDDLE: open_branch(network.branches[MIDDLE])}
        self.name = self.opened[MIDDLE].name
        self.support = self.opened[MIDDLE].support

    def branch(self, picture_bits: int) -> "Engine":
        """The engine for pictures that add -1, 0 or 1 bits."""
        if picture_bits not in self.opened:
            self.opened[picture_bits] = self.open_branch(self.branched.branches[picture_bits])
        return self.opened[picture_bits]

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Upscale, see ``Engine``; each picture by its own gradient density."""
        bits = self.branched.picture_bits(gradient_density(torch.from_numpy(np.ascontiguousarray(images)))).tolist()
        return np.concatenate([self.branch(b)(images[i : i + 1]) for i, b in enumerate(bits)])


def engine_for(engine: "Engine", open_rows: Callable[[], Rows]) -> "Engine":
    """The engine for a whole picture, of the branch that its gradient density asks for, so that no seam appears.

    Args:
        engine: any; one without branches is returned as it is.
        open_rows: opens the picture to be read through once.
    """
    if not isinstance(engine, BranchingEngine):
        return engine
    return engine.branch(int(engine.branched.picture_bits(rows_density(open_rows()))))


def rows_density(picture: Rows) -> Tensor:
    """``gradient_density`` of a picture that is read from top to bottom, one number."""
    height, width = picture.height, picture.width
    total = torch.zeros(1, dtype=torch.float64)
    for top in range(0, height, BAND):
        bottom = min(height, top + BAND)
        band = gray(torch.from_numpy(as_images(picture.read(max(0, top - 1), min(height, bottom + 1)))))
        missing = (1, 1, int(top == 0), int(bottom == height))
        total += gradient_sum(F.pad(band, missing, mode="replicate"))
    return density_of(total, height * width)
