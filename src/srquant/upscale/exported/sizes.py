"""Sizes of pictures that a network can take."""

from srquant.errors import InputError
from srquant.models.network import Facts

SMALL = 16
"""Pixels of a side on which little is computed."""


def small_side(facts: Facts) -> int:
    """Side of a small picture that the network can take."""
    return SMALL + facts.padding(SMALL)


def check_size(facts: Facts, largest: int | None, height: int, width: int) -> None:
    """Raise an ``InputError`` unless the network can take pictures of this size as they are."""
    rows, columns = (min(size + facts.padding(size), largest or size + facts.padding(size)) for size in (height, width))
    if (rows, columns) != (height, width):
        raise InputError(f"--input {height}x{width}: the model can't take this size; use --input {rows}x{columns}")
