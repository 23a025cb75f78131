"""Time several programs in turns, so that other load on the machine slows down all of them equally."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

PAUSE_S = 0.05
"""Seconds to wait before each run, until the threads of the previous program are idle."""


@dataclass(frozen=True)
class Timing:
    """Median, minimum and maximum of the milliseconds of all rounds."""

    median_ms: float
    min_ms: float
    max_ms: float


def stopwatch(run: Callable[[], object]) -> Callable[[], float]:
    """A function that runs ``run`` and returns the milliseconds it took."""

    def measured() -> float:
        start = time.perf_counter()
        run()
        return 1000 * (time.perf_counter() - start)

    return measured


def interleave(
    runs: Mapping[str, Callable[[], float]],
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Timing]:
    """Time programs in turns: each once per round.

    Args:
        runs: by name, a function that runs the program once and returns the milliseconds; already warmed up.
        rounds: at least 1.
        progress: called with the number of rounds done and of all rounds.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for done in range(rounds):
        for name, run in runs.items():
            time.sleep(PAUSE_S)
            samples[name].append(run())
        progress(done + 1, rounds)
    return {name: Timing(statistics.median(ms), min(ms), max(ms)) for name, ms in samples.items()}
