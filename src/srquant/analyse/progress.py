"""PSNR of several methods while they finetune, in one figure (GBA Fig. 6)."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from srquant.analyse.result_files import Cell, Files, csv_file, json_file, png_file
from srquant.data.calibration import CalibrationSet
from srquant.distillation.observed import observed_students
from srquant.insertion.policy import Policy
from srquant.methods.registry import Method
from srquant.models.network import Network
from srquant.report.charts import COLOURS

NAMES = ("progress.csv", "progress.json", "progress.png")

START = "start"

Measure = Callable[[Network], float]
"""PSNR of a network in dB."""

Step = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Point:
    """A measurement.

    Attributes:
        steps: of the optimizer that were done.
        stage: of the method.
        psnr: in dB.
    """

    steps: int
    stage: str
    psnr: float


@dataclass
class Curve:
    """What became of one method's network.

    Attributes:
        label: of the method.
        points: while it learned, the start first; empty for a method that doesn't learn.
        result: PSNR of the network that the method returns, settled, in dB.
    """

    label: str
    points: list[Point]
    result: float


@dataclass
class Watcher:
    """Measures the network that learns: before its first step, every ``every`` steps, and after each stage.

    A method may try things on other networks first; the points are those of the last one.

    Attributes:
        measure: gives the PSNR.
        every: steps between two measurements.
        step: called after each step as well.
        student: the network that learns now.
        steps: that it has done.
        points: its measurements.
    """

    measure: Measure
    every: int
    step: Step
    student: Network | None = None
    steps: int = 0
    points: list[Point] = field(default_factory=list)

    def see(self, student: Network) -> None:
        """A network is about to learn."""
        if student is not self.student:
            self.student, self.steps = student, 0
            self.points = [Point(0, START, self.measure(student))]

    def progress(self, stage: str, done: int, total: int) -> None:
        """A step was done."""
        self.step(stage, done, total)
        if self.student is None:
            return
        self.steps += 1
        if done == total or self.steps % self.every == 0:
            self.points.append(Point(self.steps, stage, self.measure(self.student)))


@dataclass(frozen=True)
class Run:
    """A method with its options, as ``label``."""

    label: str
    method: Method[Any]
    config: Any
    policy: Policy


def watch_method(
    network: Network, calibration: CalibrationSet, run: Run, measure: Measure, every: int, step: Step
) -> Curve:
    """Quantize a network, and measure it meanwhile; the result is what it would be without that.

    Args:
        network: float, left unchanged.
        calibration: low-resolution crops.
        run: the method.
        measure: gives the PSNR of a network in evaluation mode, which it leaves as it is.
        every: steps between two measurements, at least 1.
        step: called after each step.

    Raises:
        PolicyError, DatasetError: as ``srquant.methods.Quantize``.
    """
    watcher = Watcher(measure, every, step)
    with observed_students(watcher.see):
        result = run.method.quantize(network, calibration, run.policy, run.config, watcher.progress)
    return Curve(run.label, watcher.points, measure(result.network.eval()))


def progress_files(curves: Sequence[Curve], floating: float) -> Files:
    """All points, what came of each method, and the curves; ``floating`` is the float network's PSNR."""
    numbers = {"float": _finite(floating), "results": {curve.label: _finite(curve.result) for curve in curves}}
    contents = (
        csv_file(("method", "stage", "steps", "psnr"), _rows(curves)),
        json_file(numbers),
        png_file(_figure(curves, floating)),
    )
    return dict(zip(NAMES, contents, strict=True))


def _rows(curves: Sequence[Curve]) -> Iterable[Sequence[Cell]]:
    for curve in curves:
        for point in curve.points:
            yield curve.label, point.stage, point.steps, point.psnr
        yield curve.label, "result", curve.points[-1].steps if curve.points else 0, curve.result


def _finite(psnr: float) -> float | None:
    return psnr if math.isfinite(psnr) else None


def _figure(curves: Sequence[Curve], floating: float) -> Figure:
    """Lines of the networks that learn, crosses for the settled results."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(floating, color="black", linewidth=0.8, linestyle="--", label="float")
    for i, curve in enumerate(curves):
        colour = COLOURS[i % len(COLOURS)]
        places = [point.steps for point in curve.points]
        axes.plot(places, [point.psnr for point in curve.points], ".-", color=colour, label=curve.label)
        axes.plot(places[-1] if places else 0, curve.result, "x", color=colour, markersize=8)
    axes.set_xlabel("steps of learning (x: the settled result)", fontsize=8)
    axes.set_ylabel("PSNR, dB", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure
