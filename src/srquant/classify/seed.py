"""Random numbers that depend on a seed only."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Random numbers from ``seed`` inside; the caller's generator goes on afterwards as if nothing had happened."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
