"""Bins that are dropped, counted by hand."""

import torch

from srquant.methods.ptq4sr.dual_clipping import dbdc, kept_bins


def test_bins_are_dropped_from_the_emptier_end():
    """2048 bins of width 1 with a value each, two in the first and the last: 10 of 2050 leave on the right."""
    rows = torch.cat([torch.zeros(1), torch.arange(2048) + 0.5, torch.tensor([2048.0])])[None]
    lower, upper = dbdc(9.5 / 2050)(rows, 16)
    assert (float(lower), float(upper)) == (0.0, 2039.0)


def test_one_bin_remains():
    assert kept_bins([4.0, 3.0], 1.0) == (0, 0)
    assert kept_bins([3.0, 4.0], 1.0) == (1, 1)
