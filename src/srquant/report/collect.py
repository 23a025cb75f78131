"""Upscale benchmark sets or a user's own pictures by several models, and keep the pictures that a page shows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from torch import Tensor

from srquant.data.benchmark import BenchmarkSet, Sample
from srquant.data.images import image_size, read_rgb
from srquant.measure.cost.report import centre_crop, centre_crops
from srquant.measure.quality.patches import Upscaler
from srquant.measure.quality.scores import Report, evaluate
from srquant.report.crops import Pixels
from srquant.report.measured_model import Candidate
from srquant.report.shown_pictures import Picture, how_many
from srquant.upscale.engines.protocol import Engine
from srquant.upscale.tiles.upscale_tiles import upscale_whole

OpenEngine = Callable[[Candidate], Engine]
Step = Callable[[str, int, int], None]
"""Called with what is done, the number of its steps done, and of all its steps."""


@dataclass(frozen=True)
class Collected:
    """What came of upscaling.

    Attributes:
        scores: of each model on each set, models first.
        pictures: that are shown; version 0 is the original, where there is one, then one per model.
        measured: number of pictures in all.
        crops: centres of the first low-resolution pictures, ``1 x 3 x H x W`` in [0, 1].
    """

    scores: tuple[tuple[Report, ...], ...]
    pictures: tuple[Picture, ...]
    measured: int
    crops: tuple[Tensor, ...]


@dataclass
class Recorder:
    """An upscaler that keeps its first results.

    Attributes:
        upscaler: ``H x W x 3`` to ``scale*H x scale*W x 3``, 8 bit.
        most: number of results to keep.
        kept: those results.
    """

    upscaler: Upscaler
    most: int
    kept: list[Pixels] = field(default_factory=list)

    def __call__(self, low: Pixels) -> Pixels:
        """Upscale."""
        picture = self.upscaler(low)
        if len(self.kept) < self.most:
            self.kept.append(picture)
        return picture


def collect_sets(
    candidates: Sequence[Candidate], sets: Sequence[BenchmarkSet], open_engine: OpenEngine, step: Step
) -> Collected:
    """Measure every model on every set.

    Raises:
        ImageError: as ``evaluate``.
        EngineError: an engine can't run a model.
    """
    counts = shown_counts(sets, versions=len(candidates) + 1)
    scores, kept = [], []
    for candidate in candidates:
        engine = open_engine(candidate)
        upscaler = partial(upscale_whole, engine)
        recorders = [Recorder(upscaler, count) for count in counts]
        scores.append(tuple(_scores(candidate.label, engine, recorders, sets, step)))
        kept.append([picture for recorder in recorders for picture in recorder.kept])
    pictures = [
        Picture(sample.name, (sample.high, *versions), tuple(range(1, len(candidates) + 1)))
        for sample, *versions in zip(first_samples(sets, counts), *kept, strict=True)
    ]
    return Collected(tuple(scores), tuple(pictures), sum(map(len, sets)), tuple(centre_crops(sets[0])))


def collect_pictures(
    candidates: Sequence[Candidate], paths: Sequence[Path], open_engine: OpenEngine, step: Step
) -> Collected:
    """Upscale pictures of which no larger original is known.

    Raises:
        ImageError: a picture can't be read.
        EngineError: an engine can't run a model.
    """
    lows = [read_rgb(path) for path in paths]
    kept: list[list[Pixels]] = []
    for candidate in candidates:
        engine = open_engine(candidate)
        kept.append([])
        for number, low in enumerate(lows):
            kept[-1].append(upscale_whole(engine, low))
            step(candidate.label, number + 1, len(lows))
    everyone = tuple(range(len(candidates)))
    pictures = [Picture(path.stem, tuple(versions), everyone) for path, *versions in zip(paths, *kept, strict=True)]
    return Collected(((),) * len(candidates), tuple(pictures), len(paths), tuple(map(centre_crop, lows)))


def _scores(
    label: str, engine: Engine, recorders: Sequence[Recorder], sets: Sequence[BenchmarkSet], step: Step
) -> Iterator[Report]:
    for recorder, benchmark in zip(recorders, sets, strict=True):
        yield evaluate(recorder, benchmark, engine.name, progress=partial(step, f"{label}, {benchmark.name}"))


def shown_counts(sets: Sequence[BenchmarkSet], versions: int) -> list[int]:
    """How many pictures of each set a page shows: the first ones."""
    left = how_many([image_size(path) for benchmark in sets for path in benchmark.files], versions)
    counts = []
    for benchmark in sets:
        counts.append(min(left, len(benchmark)))
        left -= counts[-1]
    return counts


def first_samples(sets: Sequence[BenchmarkSet], counts: Sequence[int]) -> Iterator[Sample]:
    """The first pictures of each set."""
    for benchmark, count in zip(sets, counts, strict=True):
        yield from islice(benchmark, count)
