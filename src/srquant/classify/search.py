"""Search for grids: among 80 ranges, each smaller than the last, the one of smallest Lp error (BRECQ code, p = 2.4)."""

from torch import Tensor

from srquant.grids.range_rules import SEARCH_VALUES
from srquant.grids.search import best_candidate, evenly_spaced

POWER = 2.4
SHRINKS = 80
SMALLEST_SCALE = 1e-8


def search_grid(rows: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    """The grid of each row that has the smallest error; zero is one of its points.

    Args:
        rows: ``rows x values``; of long rows only evenly spaced values are used.
        levels: number of grid points.

    Returns:
        Scale (distance of the points, above 0) and zero point (integers in 0..levels-1, as floats), ``rows`` each.
    """
    low, high = rows.amin(1).clamp(max=0), rows.amax(1).clamp(min=0)
    rows = evenly_spaced(rows, SEARCH_VALUES)
    factors = (1 - shrink / 100 for shrink in range(SHRINKS))
    candidates = (_grid(low * factor, high * factor, levels) for factor in factors)
    return best_candidate(candidates, lambda scale, zero_point: lp_error(rows, scale, zero_point, levels))


def lp_error(rows: Tensor, scale: Tensor, zero_point: Tensor, levels: int) -> Tensor:
    """Mean of ``|x - q(x)|**2.4``, where ``q`` clips and rounds to the grid; ``rows``."""
    step, zero = scale.unsqueeze(1), zero_point.unsqueeze(1)
    points = step * ((rows / step).round().add_(zero).clamp_(0, levels - 1) - zero)
    return (points - rows).abs_().pow_(POWER).mean(1)


def _grid(low: Tensor, high: Tensor, levels: int) -> tuple[Tensor, Tensor]:
    scale = ((high - low) / (levels - 1)).clamp(min=SMALLEST_SCALE)
    return scale, (-low / scale).round().clamp(0, levels - 1)
