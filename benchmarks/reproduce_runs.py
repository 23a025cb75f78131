"""Runs of post-training quantization that stand for rows of the papers' tables."""

from dataclasses import replace
from functools import cache

from ptq_networks import EDSR, NETWORKS, Net
from ptq_rows import CALIBRATION, CNN, FLOAT_BITS, ROWS, run_of, runs
from ptq_run import FLOAT, Run

CROPS, SIDE = 20, 48
"""Calibration crops of short runs, and their side."""

LARGE = "CLIC2025_2K"
"""Stands for Test2K."""


@cache
def _by_row() -> dict[tuple[str, str, int], tuple[Run, ...]]:
    found: dict[tuple[str, str, int], tuple[Run, ...]] = {}
    for run in runs():
        key = run.network, run.label, run.bits
        found[key] = (*found.get(key, ()), run)
    return found


def row(network: str, label: str, bits: int) -> tuple[Run, ...]:
    """The runs of a row of ``ptq.py``, one per seed; one with the first seed where ``ptq.py`` doesn't make this row.

    Empty where the row isn't for this kind of network.
    """
    net = {net.name: net for net in NETWORKS}[network]
    return _by_row().get((network, label, bits)) or _other(net, label, bits, net.sets)


def _other(net: Net, label: str, bits: int, sets: tuple[str, ...]) -> tuple[Run, ...]:
    rows = [row for row in ROWS if row.label == label and row.attention in (None, net.attention)]
    if not rows:
        return ()
    best = next((row for row in rows if bits in row.bits), rows[0])
    return (run_of(net, best, bits, 0, sets),)


def large(network: str, label: str, bits: int) -> Run:
    """A row of ``ptq.py``, for Set5 and the large pictures that stand for Test2K."""
    net = {net.name: net for net in NETWORKS}[network]
    (run,) = _other(net, label, bits, ("Set5", LARGE))
    return replace(run, label=f"{label}, 2K")


def float_run(network: str) -> Run:
    """The run that measures the network in float."""
    return row(network, FLOAT, FLOAT_BITS)[0]


def short(label: str, method: str, *settings: str, count: int = CROPS, patch: int = SIDE) -> Run:
    """A short run of a sweep: EDSR r8f64 x2, W4A4, few crops, one seed, Set5 only."""
    return Run(
        network=EDSR,
        label=f"short {label}",
        bits=4,
        seed=0,
        method=method,
        settings=settings,
        layers=CNN,
        count=count,
        patch=patch,
        weights="weights/edsr/edsr_r8f64_x2.pt",
        calibration=CALIBRATION,
        sets=("data/Set5",),
    )
