"""Measure models and make a page of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srquant.data.benchmark import BenchmarkSet
from srquant.deploy.float_form import float_form
from srquant.models.network import Network
from srquant.models.packaged import packaged_models
from srquant.report.collect import Collected, OpenEngine, Step, collect_pictures, collect_sets
from srquant.report.command_lines import command_for
from srquant.report.compose import about_network, charts, made_by_programs, timing_text
from srquant.report.measured_model import Candidate, MeasuredModel, measured_model
from srquant.report.page import Command, Page
from srquant.report.shown_pictures import shown_picture
from srquant.report.speed import Setting, Speed, speeds

ORIGINAL = "original"
FLOAT = "FLOAT.pt"
"""Stands in commands for a float network whose file isn't known."""


@dataclass(frozen=True)
class Work:
    """What a page is made of.

    Attributes:
        title: of the page.
        candidates: the models, all of one scale.
        start: the float network among them that the others were made of; None if it isn't known.
        open_engine: gives the engine that upscales by a candidate.
        setting: how they are timed.
        command: that makes the page.
    """

    title: str
    candidates: Sequence[Candidate]
    start: Candidate | None
    open_engine: OpenEngine
    setting: Setting
    command: str


def page_of_sets(work: Work, sets: Sequence[BenchmarkSet], step: Step) -> Page:
    """Compare models on benchmark sets.

    Raises:
        ImageError, DatasetError: as ``evaluate``.
        EngineError: an engine can't run a model.
    """
    collected = collect_sets(work.candidates, sets, work.open_engine, step)
    labels = [ORIGINAL, *(candidate.label for candidate in work.candidates)]
    return _page(work, collected, labels, step)


def page_of_pictures(work: Work, paths: Sequence[Path], step: Step) -> Page:
    """Compare models on pictures without originals: PSNR compares with the first model.

    Raises:
        ImageError: a picture can't be read.
        EngineError: an engine can't run a model.
    """
    collected = collect_pictures(work.candidates, paths, work.open_engine, step)
    labels = [candidate.label for candidate in work.candidates]
    return _page(work, collected, labels, step)


def _page(work: Work, collected: Collected, labels: list[str], step: Step) -> Page:
    times = speeds([candidate.network for candidate in work.candidates], work.setting, partial(step, "timing"))
    models = _measured(work, collected, times, step)
    return Page(
        work.title,
        labels,
        0,
        [shown_picture(picture) for picture in collected.pictures],
        collected.measured - len(collected.pictures),
        models,
        timing_text(work.setting, work.candidates[0].network.facts.scale),
        charts(models),
        _commands(work),
        about_network(_float_network(work), None if work.start is None else work.start.path),
        made_by_programs(),
    )


def _measured(work: Work, collected: Collected, times: Sequence[Speed | None], step: Step) -> list[MeasuredModel]:
    start, models = None if work.start is None else work.start.network, []
    for candidate, scores, speed in zip(work.candidates, collected.scores, times, strict=True):
        models.append(measured_model(candidate, scores, speed, collected.crops, start))
        step("layers", len(models), len(work.candidates))
    return models


def _commands(work: Work) -> list[Command]:
    start = FLOAT if work.start is None else _as_typed(work.start.path)
    made = [
        Command(f"{candidate.label}:", command_for(candidate.frozen, start, str(candidate.path)))
        for candidate in work.candidates
        if candidate.frozen is not None
    ]
    return [*made, Command("This page:", work.command)]


def _as_typed(path: Path) -> str:
    """How a model is named on the command line: a packaged one without its folder."""
    return path.stem if path in packaged_models().values() else str(path)


def _float_network(work: Work) -> Network:
    if work.start is not None:
        return work.start.network
    first = work.candidates[0]
    return first.network if first.frozen is None else float_form(first.frozen)
