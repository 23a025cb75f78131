"""Distribution-oriented bound initialization (2DQuant, Alg. 1): try ``CANDIDATES`` ranges, keep the best.

Alg. 1 prints ``u + i * du``, which widens the range; it must be a minus. Its step for one direction reaches half of the
range only; here, as in the released code, all of it.
"""

import torch
from torch import Tensor, nn

from srquant.grids.range_rules import Bounds, minmax, separate_bounds, squared_error
from srquant.grids.search import best_candidate, evenly_spaced
from srquant.models.hooks import watch_inputs, watch_outputs
from srquant.models.network import Network

CANDIDATES = 100

JUDGED = 2**17
"""A candidate is judged on at most this many evenly spaced values of each row; the widest range sees them all."""


def dobi_two_sided(rows: Tensor, levels: int) -> Bounds:
    """Both ends move inwards by equal steps; for bell-shaped values."""
    return _search(rows, levels, 0.5, 0.5)


def dobi_one_sided(rows: Tensor, levels: int) -> Bounds:
    """The lower end stays at the smallest value, the upper one moves; for values with one tail."""
    return _search(rows, levels, 0.0, 1.0)


def dobi_by_sign(rows: Tensor, levels: int) -> Bounds:
    """One-sided where no value of a row is negative (attention maps, after ReLU), else two-sided."""
    one_tail = rows.amin(1) >= 0
    one, both = dobi_one_sided(rows, levels), dobi_two_sided(rows, levels)
    return torch.where(one_tail, one[0], both[0]), torch.where(one_tail, one[1], both[1])


@torch.no_grad()
def reading_gelu(network: Network, images: Tensor) -> set[str]:
    """Names of the convolutions and linear layers whose input comes straight from a GELU: one tail, but negative.

    Args:
        network: float.
        images: ``N x 3 x H x W`` in [0, 1]; one small picture is enough.
    """
    modules = dict(network.module.named_modules())
    gelus = {name: module for name, module in modules.items() if isinstance(module, nn.GELU)}
    layers = {name: module for name, module in modules.items() if isinstance(module, nn.Conv2d | nn.Linear)}
    made: list[Tensor] = []
    found: set[str] = set()

    def look(name: str, inputs: tuple[Tensor, ...]) -> None:
        if any(inputs[0] is output for output in made):
            found.add(name)

    with watch_outputs(gelus, lambda _name, _inputs, output: made.append(output)), watch_inputs(layers, look):
        network(images)
    return found


def _search(rows: Tensor, levels: int, left: float, right: float) -> Bounds:
    """The first of the ranges with the smallest error, each narrower by ``left`` and ``right`` parts of a step."""
    lower, upper = separate_bounds(*minmax(rows, levels))
    step = (upper - lower) / CANDIDATES
    rows = evenly_spaced(rows, JUDGED, odd=True)
    candidates = ((lower + i * left * step, upper - i * right * step) for i in range(CANDIDATES))
    return best_candidate(candidates, lambda lower, upper: squared_error(rows, lower, upper, levels))
