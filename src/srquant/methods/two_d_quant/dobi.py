"""DOBI, distribution-oriented bound initialization (2DQuant, Alg. 1): try ``CANDIDATES`` ranges, keep the best.

Alg. 1 prints ``u + i * du``, which widens the range; it must be a minus. As printed, the search in one direction covers
half of the range only; here, as in the released code, it covers all of it.
"""

import torch
from torch import Tensor, nn

from srquant.grids.range_rules import Bounds, minmax, separate_bounds, squared_error
from srquant.grids.search import best_candidate, evenly_spaced
from srquant.models.hooks import watch_inputs, watch_outputs
from srquant.models.network import Network

CANDIDATES = 100
"""``K`` of Alg. 1."""

SEARCHED_VALUES = 2**17
"""The error of a candidate is that of at most this many evenly spaced values of each row; the widest range is that of
all values."""


def dobi_two_sided(rows: Tensor, levels: int) -> Bounds:
    """Move both ends inwards by equal steps; for bell-shaped values."""
    return _search(rows, levels, 0.5, 0.5)


def dobi_one_sided(rows: Tensor, levels: int) -> Bounds:
    """Keep the lower end at the smallest value and move the upper one; for values with one tail."""
    return _search(rows, levels, 0.0, 1.0)


def dobi_by_sign(rows: Tensor, levels: int) -> Bounds:
    """One-sided for rows without negative values (attention maps, after ReLU), else two-sided."""
    one_tail = rows.amin(1) >= 0
    one, both = dobi_one_sided(rows, levels), dobi_two_sided(rows, levels)
    return torch.where(one_tail, one[0], both[0]), torch.where(one_tail, one[1], both[1])


@torch.no_grad()
def layers_after_gelu(network: Network, images: Tensor) -> set[str]:
    """Names of the convolutions and linear layers whose input is the output of a GELU: one tail, but negative values.

    Args:
        network: float.
        images: ``N x 3 x H x W`` in [0, 1]; one small picture is enough.
    """
    modules = dict(network.module.named_modules())
    gelus = {name: module for name, module in modules.items() if isinstance(module, nn.GELU)}
    layers = {name: module for name, module in modules.items() if isinstance(module, nn.Conv2d | nn.Linear)}
    outputs: list[Tensor] = []
    found: set[str] = set()

    def compare(name: str, inputs: tuple[Tensor, ...]) -> None:
        if any(inputs[0] is output for output in outputs):
            found.add(name)

    with watch_outputs(gelus, lambda _name, _inputs, output: outputs.append(output)), watch_inputs(layers, compare):
        network(images)
    return found


def _search(rows: Tensor, levels: int, left: float, right: float) -> Bounds:
    """The range of smallest squared error; candidate i is ``i * left`` and ``i * right`` steps narrower at its ends."""
    lower, upper = separate_bounds(*minmax(rows, levels))
    step = (upper - lower) / CANDIDATES
    rows = evenly_spaced(rows, SEARCHED_VALUES, odd=True)
    candidates = ((lower + i * left * step, upper - i * right * step) for i in range(CANDIDATES))
    return best_candidate(candidates, lambda lower, upper: squared_error(rows, lower, upper, levels))
