"""Search among candidate grids: each row takes the first candidate with the smallest error.

>>> wide, narrow = (torch.tensor([-8.0, -8.0]), torch.tensor([8.0, 8.0])), (torch.tensor([-1.0, -1.0]), torch.ones(2))
>>> wanted = torch.tensor([1.0, 7.0])
>>> best_candidate([wide, narrow], lambda lower, upper: (upper - wanted).abs())
(tensor([-1., -8.]), tensor([1., 8.]))
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Candidate = tuple[Tensor, Tensor]
"""The two numbers of a grid, ``rows`` each: lower and upper bound, or step and zero point."""


def best_candidate(candidates: Iterable[Candidate], error: Callable[[Tensor, Tensor], Tensor]) -> Candidate:
    """The candidate with the smallest error, for each row separately; the first one where errors are equal.

    Args:
        candidates: at least one; the first is also chosen where no error is finite.
        error: from the two numbers of a candidate to its error, ``rows``.

    Returns:
        The two numbers of the chosen grids, ``rows`` each.
    """
    remaining = iter(candidates)
    first, second = next(remaining)
    smallest = error(first, second).nan_to_num(torch.inf, torch.inf)
    for candidate in remaining:
        found = error(*candidate)
        better = found < smallest
        smallest = torch.where(better, found, smallest)
        first, second = torch.where(better, candidate[0], first), torch.where(better, candidate[1], second)
    return first, second


def evenly_spaced(rows: Tensor, most: int, odd: bool = False) -> Tensor:
    """At most ``most`` evenly spaced values of each row, so that errors of long rows are fast to compute.

    Args:
        rows: ``rows x values``.
        most: largest number of values per row.
        odd: whether to make the distance between them odd, so that they don't all lie in one column of a picture.
    """
    return rows[:, :: -(-rows.shape[1] // most) | odd]
