"""Upscale one picture or several for ``srquant upscale``: show how far it is, and what came of it."""

import time
from typing import TYPE_CHECKING

from srquant.cli.bars import progress
from srquant.cli.output import fail, note, show, spent, write_json
from srquant.cli.stdout import STREAM

if TYPE_CHECKING:
    from pathlib import Path

    from srquant.cli.upscale_choices import Choices
    from srquant.upscale.engines.protocol import Engine
    from srquant.upscale.jobs.folder import FolderReport, Progress
    from srquant.upscale.jobs.plan import Job, Plan

MEGA = 1e6

MOST_NAMED = 20
"""Files left out that are named; the others are counted."""


def upscale_one(engine: "Engine", job: "Job", chosen: "Choices") -> None:
    """Upscale one picture, with a bar of its pixels."""
    from srquant.data.images import image_size
    from srquant.upscale.jobs.one_picture import upscale_file

    height, width = image_size(job.source)
    start = time.monotonic()
    with progress(" Mpixel") as step:

        def pixels_done(done: int, total: int) -> None:
            step(job.source.name, done / MEGA, total / MEGA, rate(done, start))

        step(job.source.name, 0, height * width / MEGA)
        upscale_file(
            engine, job.source, job.target, chosen.overwrite, chosen.tile, pixels_done, chosen.reading, chosen.quality
        )
    note(f"{time.monotonic() - start:.1f} s")


def upscale_several(engine: "Engine", planned: "Plan", folder: "Path", chosen: "Choices") -> "FolderReport":
    """Upscale the pictures of a plan, with one bar for all."""
    from srquant.upscale.jobs.folder import upscale_planned

    start = time.monotonic()
    with progress(" pictures") as step:

        def show_progress(state: "Progress") -> None:
            beside = f"{rate(state.pixels, start)}, {state.source.name}"
            step(folder.name, state.position + state.fraction, state.count, beside)

        return upscale_planned(
            engine, planned, folder, chosen.overwrite, chosen.tile, show_progress, chosen.reading, chosen.quality
        )


def rate(pixels: int, start: float) -> str:
    """Input pixels per second since ``start``."""
    return f"{pixels / MEGA / max(time.monotonic() - start, 1e-9):.2f} Mpixel/s"


def show_picture(job: "Job", output: str, json: str | None, start: float) -> None:
    """Print which file was written; nothing where it is stdout."""
    written = output if output == STREAM else str(job.target)
    if output != STREAM:
        show(written, json_to=json)
    write_json({"written": [written], **spent(start)}, json)


def show_report(report: "FolderReport", json: str | None, start: float) -> None:
    """Print how many pictures were written, skipped, failed and left out; exit with code 1 if one failed."""
    write_json(
        {
            "written": [str(path) for path in report.written],
            "already_done": [str(path) for path in report.skipped],
            "failed": {str(failure.source): str(failure.error) for failure in report.failures},
            "left_out": {str(item.path): item.reason for item in report.left_out},
            **spent(start),
        },
        json,
    )
    counts = f"{len(report.written)} written, {len(report.skipped)} already done, {len(report.failures)} failed"
    show(counts + (f", {len(report.left_out)} left out" if report.left_out else ""), json_to=json)
    note_left_out(report)
    for failure in report.failures:
        note(str(failure.error))
    if report.failures:
        fail(f"{len(report.failures)} {'picture' if len(report.failures) == 1 else 'pictures'} failed", 1)


def note_left_out(report: "FolderReport") -> None:
    """Name the first files that were left out, and say how many more there are."""
    for item in report.left_out[:MOST_NAMED]:
        note(f"left out {item.path}: {item.reason}")
    if len(report.left_out) > MOST_NAMED:
        note(f"and {len(report.left_out) - MOST_NAMED} more left out")
