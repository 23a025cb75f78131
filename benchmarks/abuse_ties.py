"""Whether a picture is that of a frozen network with a few codes of values near a tie on the tie's other side."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.models.network import Network, modules_of

MARGIN = 2.0**-20
"""Distance from a tie, relative to the largest value on the grid, at which a value has either code. GELU, SiLU and Mish
differ by a quarter of that between engines, and errors add up."""

MOST_CODES = 32
"""Of a picture; its ties are far more, but the errors of an engine put few of them on the other side."""

LEAST = 1e-3
"""By how much a code must bring two pictures nearer, summed over their values."""

Array = NDArray[np.float32]
Code = tuple[int, int]
"""Number of the grid, and place among the values that it rounds."""


class Ties:
    """The codes of a frozen network for one picture: which are near ties, and which are on the other side.

    Args:
        frozen: its grids run once per picture.
        images: ``N x 3 x H x W``.
    """

    def __init__(self, frozen: Network, images: Tensor) -> None:
        self.frozen, self.images = frozen, images
        self.near: dict[int, list[int]] = {}
        self.moved: set[Code] = set()

    @contextmanager
    def watched(self) -> Iterator["Ties"]:
        """Watch and move codes during the block."""
        with ExitStack() as hooks:
            for number, grid in enumerate(modules_of(self.frozen.module, FrozenGrid).values()):
                hooks.callback(grid.register_forward_hook(self._hook(number)).remove)
            yield self

    def picture(self) -> Array:
        """The picture with the codes that were moved; also finds those near ties."""
        return self.frozen(self.images).numpy()

    def codes(self) -> list[Code]:
        """Codes near ties, in the order of grids."""
        return [(grid, place) for grid in sorted(self.near) for place in self.near[grid]]

    def _hook(self, number: int) -> Any:
        def hook(grid: FrozenGrid, inputs: tuple[Tensor], result: Tensor) -> Tensor:
            values = inputs[0].double().flatten()
            position = (values - float(grid.lower)) / grid.step
            last, margin = grid.levels - 1, MARGIN * float(values.abs().max()) / grid.step
            near = ((position % 1 - 0.5).abs() < margin) & (position > 0) & (position < last)
            self.near[number] = near.nonzero().flatten().tolist()
            codes = result.flatten() + grid.zero_point
            for place in (place for moved, place in self.moved if moved == number):
                low = position[place].floor()
                codes[place] = low if codes[place] > low else low + 1
            return (codes - grid.zero_point).view(result.shape)

        return hook


def codes_on_ties(found: Array, frozen: Network, images: Tensor) -> tuple[int, Array]:
    """Move codes near ties as long as that brings the frozen network's picture nearer to another one.

    Returns:
        Their number, at most ``MOST_CODES``, and the nearest picture.
    """
    with Ties(frozen, images).watched() as ties:
        distance, before = float(np.abs(found - ties.picture()).sum()), np.inf
        while distance < before:
            before = distance
            for code in ties.codes():
                ties.moved ^= {code}
                changed = float(np.abs(found - ties.picture()).sum())
                if changed < distance - LEAST and len(ties.moved) <= MOST_CODES:
                    distance = changed
                else:
                    ties.moved ^= {code}
            nearest = ties.picture()
        return len(ties.moved), nearest
