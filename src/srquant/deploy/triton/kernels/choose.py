"""Choose the configuration of a convolution: the one that was fastest on this GPU."""

from collections.abc import Callable, Sequence
from typing import Any

from srquant.deploy.triton.available import interpreted
from srquant.deploy.triton.kernels.configurations import CANDIDATES, WITHOUT_GPU, Configuration
from srquant.deploy.triton.kernels.launch import Operands, launch
from srquant.errors import EngineError

LARGE_PICTURE = 1 << 18
"""Pixels from which pictures are large; both sizes are timed separately."""

WARMUP_MS, TIMED_MS = 5, 20

chosen: dict[tuple[Any, ...], Configuration] = {}
"""The fastest configuration for each kind of layer, for the life of the process."""


def convolve(operands: Operands) -> None:
    """Compute ``operands.values`` and ``operands.codes``.

    The first convolution of a kind on a GPU times all candidates. All of them give the same bits.

    Raises:
        EngineError: no candidate runs on this GPU.
    """
    if interpreted():
        launch(operands, WITHOUT_GPU)
        return
    kind = kind_of(operands)
    if kind not in chosen:
        chosen[kind] = fastest(CANDIDATES, lambda configuration: time_on_gpu(operands, configuration))
    launch(operands, chosen[kind])


def kind_of(operands: Operands) -> tuple[Any, ...]:
    """What the fastest configuration depends on: channels, what is read and written, whether pictures are large."""
    o = operands
    pictures, height, width, c_in = o.source.shape
    parts = (o.residual is None, o.values is None, o.codes is None, o.sum_grid is None)
    return o.source.device, o.zero_padded, c_in, o.weight.shape[1], *parts, pictures * height * width >= LARGE_PICTURE


def fastest(candidates: Sequence[Configuration], milliseconds: Callable[[Configuration], float]) -> Configuration:
    """The candidate of the shortest time; those that don't fit into the GPU's memories or registers are left out.

    Raises:
        EngineError: none runs.
    """
    times: dict[Configuration, float] = {}
    errors: list[Exception] = []
    for candidate in candidates:
        try:
            times[candidate] = milliseconds(candidate)
        except Exception as error:  # Triton's own errors and its compiler's have no common base
            errors.append(error)
    if not times:
        raise EngineError(f"no Triton kernel runs on this GPU ({errors[0]}); use --engine torch") from errors[0]
    return min(times, key=lambda candidate: times[candidate])


def time_on_gpu(operands: Operands, configuration: Configuration) -> float:
    """Median milliseconds of one configuration."""
    from triton.testing import do_bench

    return float(
        do_bench(lambda: launch(operands, configuration), warmup=WARMUP_MS, rep=TIMED_MS, return_mode="median")
    )
