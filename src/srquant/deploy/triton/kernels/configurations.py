"""The ways to cut a convolution into blocks. All give the same integers: only the time depends on the choice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Configuration:
    """One way to run the convolution.

    Attributes:
        by_rows: walk down a strip of ``rows`` rows, or compute a rectangle at once.
        rows: of output pixels of a block; a power of two where not ``by_rows``.
        columns: of output pixels of a block, a power of two; a rectangle has at least 16 pixels.
        warps: of 32 threads.
        stages: of loads that run ahead of the products.
    """

    by_rows: bool
    rows: int
    columns: int
    warps: int = 4
    stages: int = 3


CANDIDATES = (
    Configuration(False, 8, 16),
    Configuration(False, 8, 16, stages=4),
    Configuration(False, 8, 32, warps=8),
    Configuration(False, 16, 16, warps=8, stages=4),
    Configuration(True, 8, 64),
    Configuration(True, 16, 64, stages=4),
    Configuration(True, 16, 128, warps=8),
    Configuration(True, 32, 128, warps=8),
)
"""What is timed on a GPU."""

WITHOUT_GPU = Configuration(False, 32, 64)
"""What Triton's interpreter runs, whose time depends on the number of blocks, not on their size."""
