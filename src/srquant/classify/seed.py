"""Random numbers that depend only on a seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, random numbers follow from ``seed``; afterwards the caller's random state is as before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
