"""Scores of an upscaler on a benchmark set."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from srquant.data.benchmark import Sample
from srquant.errors import ImageError
from srquant.measure.quality.further_metrics import Metric, measured
from srquant.measure.quality.metrics import psnr_y, ssim
from srquant.measure.quality.patches import Measure, Upscaler, in_patches, mean_over_patches


class Pairs(Protocol):
    """Pictures, each with what its upscaled form is compared with."""

    @property
    def name(self) -> str:
        """Name of the set."""

    @property
    def scale(self) -> int:
        """How many times larger the pictures are that are compared with."""

    def __len__(self) -> int:
        """Number of pictures."""

    def __iter__(self) -> Iterator[Sample]:
        """One pair after the other."""


@dataclass(frozen=True)
class ImageScore:
    """Scores of one picture.

    Attributes:
        name: of the picture.
        psnr_y: PSNR of the luminance in dB; ``inf`` if equal.
        ssim_a: SSIM of the luminance, flavour A of ``metrics.ssim``.
        ssim_b: the same, flavour B.
        pixels: of the low-resolution picture.
        further: by name of the metric.
    """

    name: str
    psnr_y: float
    ssim_a: float
    ssim_b: float
    pixels: int
    further: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Values for ``json.dumps``; null where a PSNR is infinite, further metrics beside the others."""
        further = {name: _finite(value) for name, value in self.further.items()}
        return {
            "name": self.name,
            "psnr_y": _finite(self.psnr_y),
            "ssim_a": self.ssim_a,
            "ssim_b": self.ssim_b,
            **further,
        }


@dataclass(frozen=True)
class Report:
    """Scores of a set.

    Attributes:
        dataset: name of the set.
        scale: upscaling factor.
        engine: name of the engine that upscaled the pictures, e.g. ``openvino``.
        fab: feature average bit-width of the network, mean over pictures; None for a float network.
        images: one score per picture, sorted by name.
    """

    dataset: str
    scale: int
    engine: str
    fab: float | None
    images: tuple[ImageScore, ...]

    @property
    def psnr_y(self) -> float:
        """Mean of the pictures' PSNR in dB."""
        return float(np.mean([image.psnr_y for image in self.images]))

    @property
    def ssim_a(self) -> float:
        """Mean of the pictures' SSIM, flavour A."""
        return float(np.mean([image.ssim_a for image in self.images]))

    @property
    def ssim_b(self) -> float:
        """Mean of the pictures' SSIM, flavour B."""
        return float(np.mean([image.ssim_b for image in self.images]))

    @property
    def pixels(self) -> float:
        """Mean number of pixels of the low-resolution pictures."""
        return float(np.mean([image.pixels for image in self.images]))

    @property
    def further(self) -> dict[str, float]:
        """Means of the further metrics, by name."""
        return {name: float(np.mean([image.further[name] for image in self.images])) for name in self.images[0].further}

    def to_json(self) -> dict[str, object]:
        """Values for ``json.dumps``; null where a PSNR is infinite or there is no FAB."""
        return {
            "dataset": self.dataset,
            "scale": self.scale,
            "engine": self.engine,
            "psnr_y": _finite(self.psnr_y),
            "ssim_a": self.ssim_a,
            "ssim_b": self.ssim_b,
            **{name: _finite(value) for name, value in self.further.items()},
            "fab": self.fab,
            "images": [image.to_json() for image in self.images],
        }


def evaluate(
    upscaler: Upscaler,
    benchmark: Pairs,
    engine: str,
    fab: float | Measure | None = None,
    patch: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    metrics: Sequence[Metric] = (),
) -> Report:
    """Upscale every picture of a set and compare it with the original, without a border of ``scale`` pixels.

    Args:
        upscaler: ``H x W x 3`` RGB to ``scale*H x scale*W x 3`` RGB, 8 bit, clipped and rounded.
        benchmark: a ``BenchmarkSet``, or pictures with what they are compared with; its scale must be the upscaler's.
        engine: name of the engine, for the report.
        fab: feature average bit-width, for the report; a function of the low-resolution picture if it depends on that.
        patch: side in pixels of patches that are upscaled one by one; None for whole pictures.
        progress: called with the number of pictures done and of all pictures.
        metrics: further ones.

    Raises:
        ImageError: a picture can't be read, is too small to compare, or the upscaled picture has another size than the
            original.
    """
    if patch is not None:
        upscaler = in_patches(upscaler, benchmark.scale, patch)
        fab = mean_over_patches(fab, patch) if callable(fab) else fab
    scores: list[ImageScore] = []
    bits: list[float] = []
    for sample in benchmark:
        scores.append(_score(sample, upscaler, benchmark.scale, metrics))
        bits += [fab(sample.low)] if callable(fab) else []
        progress(len(scores), len(benchmark))
    mean_fab = float(np.mean(bits)) if callable(fab) else fab
    return Report(benchmark.name, benchmark.scale, engine, mean_fab, tuple(scores))


def _score(sample: Sample, upscaler: Upscaler, border: int, metrics: Sequence[Metric]) -> ImageScore:
    sr = upscaler(sample.low)
    try:
        a, b = (ssim(sr, sample.high, border, flavour) for flavour in ("A", "B"))
        further = {metric.name: measured(metric, sr, sample.high, border) for metric in metrics}
        return ImageScore(sample.name, psnr_y(sr, sample.high, border), a, b, sample.low[..., 0].size, further)
    except ImageError as error:
        raise ImageError(f"{sample.name}: {error}") from error


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
