"""Finished runs -> one entry per network, row and number of bits, with means over seeds."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ptq_networks import NETWORKS
from ptq_papers import Drop, Key
from ptq_rows import ROWS
from ptq_run import FLOAT, Run
from ptq_store import Store

AGREEMENT_DB = 0.01
"""Engines say the same where their Y-PSNR is no further apart."""


@dataclass(frozen=True)
class Score:
    """Means over seeds on one set; ``std`` of the PSNR over seeds, None for one seed.

    ``by_seed`` and ``fab_by_seed`` have the PSNR and the mean bits of each seed. ``drop`` is the loss against the float
    network in dB, ``paper`` the loss in the paper's table.
    """

    set: str
    psnr_y: float
    by_seed: dict[int, float]
    fab_by_seed: dict[int, float | None]
    std: float | None
    ssim_a: float
    ssim_b: float
    fab: float | None
    drop: float | None
    paper: Drop | None

    def means(self, seeds: Iterable[int]) -> tuple[float, float]:
        """Mean PSNR and activation bits over some seeds; the bits are NaN if they weren't measured."""
        chosen = list(seeds)
        fabs = (self.fab_by_seed[seed] for seed in chosen)
        return (
            statistics.fmean(self.by_seed[seed] for seed in chosen),
            statistics.fmean(math.nan if fab is None else fab for fab in fabs),
        )


@dataclass(frozen=True)
class Entry:
    """One line of the tables; costs are means over seeds, None for a float network."""

    network: str
    label: str
    bits: int
    seeds: int
    options: str
    scores: tuple[Score, ...]
    effective_activation_bits: float | None
    effective_weight_bits: float | None
    activation_bits: float | None
    weight_bits: float | None
    bit_ops: float | None
    size_bytes: float | None
    seconds: float | None
    peak_bytes: float | None
    ranges: str
    overspends: int
    engine: str
    float_layers: int
    engines_agree: bool | None

    def on(self, benchmark: str) -> Score | None:
        """The score on a set; None if it wasn't measured."""
        return next((score for score in self.scores if score.set == benchmark), None)

    def psnr_y(self, benchmark: str) -> float | None:
        """Mean PSNR on a set; None if it wasn't measured."""
        score = self.on(benchmark)
        return None if score is None else score.psnr_y


def entries(runs: Iterable[Run], store: Store, papers: dict[Key, Drop]) -> list[Entry]:
    """Entries of all finished runs, ordered by network, row and bits."""
    results: dict[tuple[str, str, int], list[tuple[Run, dict[str, Any]]]] = {}
    for run in runs:
        result = store.result(run)
        if result is not None:
            results.setdefault((run.network, run.label, run.bits), []).append((run, result))
    floats = {
        (network, score["set"]): score["psnr_y"]
        for (network, label, _), found in results.items()
        if label == FLOAT
        for score in found[0][1]["scores"]
    }
    order = [net.name for net in NETWORKS], [row.label for row in ROWS]
    keys = sorted(results, key=lambda key: (order[0].index(key[0]), -key[2], order[1].index(key[1])))
    return [_entry(key, results[key], floats, papers) for key in keys]


def _entry(
    key: tuple[str, str, int],
    found: list[tuple[Run, dict[str, Any]]],
    floats: dict[tuple[str, str], float],
    papers: dict[Key, Drop],
) -> Entry:
    results = [result for _, result in found]
    run, first = found[0]
    agreements = [agreement for agreement in map(_agreement, results) if agreement is not None]
    options = [*run.settings, f"layers {','.join(run.layers)}"]
    options += [] if run.patch == 48 else [f"patch {run.patch}"]
    options += [] if run.granularity == "tensor" else [f"weights per {run.granularity}"]
    options += [] if run.activation_granularity == "tensor" else [f"activations per {run.activation_granularity}"]
    return Entry(
        *key,
        seeds=len(results),
        options="" if run.method == FLOAT else " ".join([run.method, *options]),
        scores=tuple(_score(name, key, found, floats, papers) for name in _sets(first)),
        effective_activation_bits=_mean(results, "effective_activation_bits"),
        effective_weight_bits=_mean(results, "effective_weight_bits"),
        activation_bits=_mean(results, "activation_bits"),
        weight_bits=_mean(results, "weight_bits"),
        bit_ops=_mean(results, "bit_ops"),
        size_bytes=_mean(results, "size_bytes"),
        seconds=_mean(results, "processor_seconds"),
        peak_bytes=_mean(results, "peak_bytes"),
        ranges=first.get("ranges", ""),
        overspends=max(len(result.get("overspends", ())) for result in results),
        engine=first["engine"],
        float_layers=len(first.get("float_layers", ())),
        engines_agree=all(agreements) if agreements else None,
    )


def _agreement(result: dict[str, Any]) -> bool | None:
    """Whether PyTorch has the engine's PSNR; runs that were restored from means say only that."""
    if "torch_psnr_y" not in result:
        return result.get("engines_agree")
    return bool(abs(result["torch_psnr_y"] - result["scores"][0]["psnr_y"]) <= AGREEMENT_DB)


def _sets(result: dict[str, Any]) -> list[str]:
    return [score["set"] for score in result["scores"]]


def _score(
    name: str,
    key: tuple[str, str, int],
    found: list[tuple[Run, dict[str, Any]]],
    floats: dict[tuple[str, str], float],
    papers: dict[Key, Drop],
) -> Score:
    by_seed = {run.seed: score for run, result in found for score in result["scores"] if score["set"] == name}
    scores = list(by_seed.values())
    psnr = [score["psnr_y"] for score in scores]
    own = floats.get((key[0], name))
    return Score(
        name,
        statistics.fmean(psnr),
        dict(zip(by_seed, psnr, strict=True)),
        {seed: score["fab"] for seed, score in by_seed.items()},
        statistics.stdev(psnr) if len(psnr) > 1 else None,
        statistics.fmean(score["ssim_a"] for score in scores),
        statistics.fmean(score["ssim_b"] for score in scores),
        None if scores[0]["fab"] is None else statistics.fmean(score["fab"] for score in scores),
        None if own is None or key[1] == FLOAT else own - statistics.fmean(psnr),
        _paper(key, name, papers),
    )


def _paper(key: tuple[str, str, int], benchmark: str, papers: dict[Key, Drop]) -> Drop | None:
    network = next(net for net in NETWORKS if net.name == key[0])
    row = next(row for row in ROWS if row.label == key[1])
    if network.paper is None:
        return None
    found = (papers.get((*network.paper, method, key[2], benchmark)) for method in row.paper)
    return next((drop for drop in found if drop is not None), None)


def _mean(results: list[dict[str, Any]], name: str) -> float | None:
    values = [result[name] for result in results if result.get(name) is not None]
    return statistics.fmean(values) if values else None
