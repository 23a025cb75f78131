"""Load batches in background threads while the network computes."""

import os
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from torch import Tensor

from srquant.data.pairs import PairSet

Made = TypeVar("Made")
Batch = tuple[Tensor, Tensor]

MOST_THREADS = 8


def prefetch(make: Callable[[int], Made], steps: range, threads: int) -> Generator[Made]:
    """``make(step)`` of each step, in order; up to ``threads + 2`` results are computed in advance."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for step in steps:
                waiting.append(pool.submit(make, step))
                if len(waiting) > threads + 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batches(pairs: PairSet, steps: range, size: int, rank: int, processes: int) -> Generator[Batch]:
    """This process's share of the batch of each step; see ``PairSet.batch``.

    All processes together get the same crops as one process with batches of ``size * processes``.

    Args:
        pairs: the training set.
        steps: numbers of the steps; the first of a run is 0.
        size: crops per step and process.
        rank: number of this process, from 0.
        processes: number of processes.
    """

    def make(step: int) -> Batch:
        first = (step * processes + rank) * size
        return pairs.batch(range(first, first + size))

    return prefetch(make, steps, loading_threads())


def loading_threads() -> int:
    """Half of the cores, at most ``MOST_THREADS``."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_THREADS, cores // 2))
