"""Bits from gradients."""

from collections import Counter

import pytest
import torch

from srquant.errors import PolicyError
from srquant.methods.gba.allocation import allocate_bits


def test_the_most_negative_gradient_gets_a_bit_and_the_largest_gives_one():
    assert allocate_bits([-3.0, 0.5, -0.1, 0.0]) == [1, -1, 0, 0]


@pytest.mark.parametrize("largest", [1, 2, 3])
def test_offsets_add_up_to_zero_and_follow_the_gradients(largest: int):
    random = torch.Generator().manual_seed(0)
    for count in range(4, 201):
        gradients = torch.randn(count, generator=random).tolist()
        offsets = allocate_bits(gradients, largest)
        assert sum(offsets) == 0
        assert set(offsets) <= set(range(-largest, largest + 1))
        assert {min(offsets), max(offsets)} == {-largest, largest}
        by_gradient = [offset for _, offset in sorted(zip(gradients, offsets, strict=True))]
        assert by_gradient == sorted(offsets, reverse=True)


def test_body_of_edsr():
    """33 layers (GBA, 16 blocks): the ranks 8 and 24 lie halfway and keep the base bits."""
    assert Counter(allocate_bits(list(range(33)))) == {-1: 8, 0: 17, 1: 8}


@pytest.mark.parametrize(("gradients", "offsets"), [([], []), ([2.0], [0]), ([2.0, 1.0], [-1, 1])])
def test_few_layers(gradients: list[float], offsets: list[int]):
    assert allocate_bits(gradients) == offsets


def test_equal_gradients_rank_in_the_order_of_layers():
    assert allocate_bits([1.0, 1.0, 1.0]) == [-1, 0, 1]


def test_gradients_that_are_not_finite_are_named():
    with pytest.raises(PolicyError, match="nan"):
        allocate_bits([1.0, float("nan")])


def test_candidate_set_without_offsets():
    with pytest.raises(PolicyError, match="at least 1"):
        allocate_bits([1.0], 0)
