"""Running a network of three branches with different bits: each picture takes the branch of its gradient density."""

from collections.abc import Callable
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from srquant.grids.picture_density import density_of, gradient_density, gradient_sum, gray
from srquant.insertion.branched_network import MIDDLE, BranchedNetwork
from srquant.models.network import Network
from srquant.upscale.engines.fingerprint import fingerprint
from srquant.upscale.engines.protocol import Engine, Images
from srquant.upscale.pictures.rows import Rows, as_images

BAND = 256
"""Rows of a picture that are in memory at a time while its density is measured."""


class BranchingEngine:
    """One ``Engine`` per branch, each opened when the first picture needs it.

    Args:
        network: its branches differ only in their bits.
        open_branch: opens the engine of one branch.
    """

    def __init__(self, network: BranchedNetwork, open_branch: Callable[[Network], Engine]) -> None:
        self.branched, self.network, self.facts = network, network.branches[MIDDLE], network.facts
        self.open_branch = open_branch
        self.opening = Lock()
        self.opened = {MIDDLE: open_branch(network.branches[MIDDLE])}
        self.name = self.opened[MIDDLE].name
        self.tiling = self.opened[MIDDLE].tiling

    def branch(self, picture_bits: int) -> Engine:
        """The engine for pictures that add -1, 0 or 1 bits."""
        with self.opening:
            if picture_bits not in self.opened:
                self.opened[picture_bits] = self.open_branch(self.branched.branches[picture_bits])
            return self.opened[picture_bits]

    def __call__(self, images: Images) -> Images:
        """Upscale, see ``Engine``; each picture of the batch takes the branch of its own gradient density."""
        bits = self.branched.picture_bits(gradient_density(torch.from_numpy(np.ascontiguousarray(images)))).tolist()
        return np.concatenate([self.branch(b)(images[i : i + 1]) for i, b in enumerate(bits)])

    def fingerprint(self) -> str:
        """See ``Engine``."""
        return fingerprint(self.branched, self.name)

    def float_layers(self) -> set[str]:
        """See ``Engine``; of the middle branch."""
        return self.opened[MIDDLE].float_layers()


def engine_for(engine: Engine, open_rows: Callable[[], Rows]) -> Engine:
    """The engine for all tiles of a picture.

    All tiles take the branch of the whole picture's gradient density, so that no seams appear between them.

    Args:
        engine: any; one without branches is returned unchanged.
        open_rows: opens the picture, which is read once from top to bottom.
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
