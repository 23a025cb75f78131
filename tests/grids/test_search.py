"""The search that all methods with candidate grids share."""

import torch

from srquant.grids.search import best_candidate, evenly_spaced


def bounds(*uppers):
    upper = torch.tensor(uppers)
    return -upper, upper


def test_each_row_takes_its_own_candidate():
    wanted = torch.tensor([3.0, 1.0, 2.0])
    candidates = [bounds(size, size, size) for size in (3.0, 2.0, 1.0)]
    lower, upper = best_candidate(iter(candidates), lambda lower, upper: (upper - wanted).abs())
    assert upper.tolist() == [3, 1, 2]
    assert lower.tolist() == [-3, -1, -2]


def test_of_equal_errors_the_first_stays():
    _, upper = best_candidate([bounds(3.0), bounds(2.0), bounds(1.0)], lambda lower, upper: torch.zeros(1))
    assert upper.item() == 3


def test_errors_that_are_no_numbers_never_win():
    errors = iter(torch.tensor([[torch.nan, torch.nan], [1.0, torch.nan], [torch.nan, torch.inf]]))
    candidates = [bounds(size, size) for size in (3.0, 2.0, 1.0)]
    assert best_candidate(candidates, lambda lower, upper: next(errors))[1].tolist() == [2, 3]


def test_long_rows_are_thinned_evenly():
    rows = torch.arange(20).view(2, 10)
    assert torch.equal(evenly_spaced(rows, 10), rows)
    assert evenly_spaced(rows, 5).tolist() == [[0, 2, 4, 6, 8], [10, 12, 14, 16, 18]]
    assert evenly_spaced(rows, 5, odd=True).tolist() == [[0, 3, 6, 9], [10, 13, 16, 19]]
