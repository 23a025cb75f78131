"""How sensitive each layer is: the papers' measures beside the measured error of quantizing that layer alone.

As in GBA Fig. 2, outlier-aware Fig. 4 and AdaBM Fig. 2.
"""

import copy
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import SymmetricalLogLocator
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from torch import Tensor, nn

from srquant.analyse.result_files import Cell, Files, csv_file, json_file, png_file
from srquant.data.calibration import CalibrationSet
from srquant.distillation.lessons import Lessons, recorded
from srquant.distillation.recipes import LearnedGroup
from srquant.insertion.plan import QuantizationPlan, resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.measure.quality.layer_sensitivity import error_with
from srquant.methods.adabm.adaptive_weights import weight_sensitivities
from srquant.methods.adabm.layer_to_bit import layer_sensitivities
from srquant.methods.gba.method import GBA, bit_gradients, initialise_bounds, quantized, quantizers_of
from srquant.methods.outlier_aware.method import feature_deviations, with_features
from srquant.methods.ranges.pipeline import BATCH
from srquant.models.hooks import watch_outputs
from srquant.models.network import Network, on_device_of
from srquant.quantizers.layers import QuantLayer, quant_layers, quantized_weight

NAMES = ("sensitivity.csv", "sensitivity.json", "sensitivity.png")

Step = Callable[[str, int, int], None]

STATIC, DAN, WEIGHT = "activation_error_static", "activation_error_dan", "weight_error"
"""Measured errors: of activations on min-max ranges and on ranges that follow the picture, and of weights."""

ACTIVATION_MEASURES = ("activation_gba", "activation_adabm", "activation_outlier_aware")
WEIGHT_MEASURES = ("weight_gba", "weight_adabm")

TITLES = {
    STATIC: "measured error, min-max ranges",
    DAN: "measured error, DAN",
    WEIGHT: "measured error",
    "activation_gba": "GBA: -g_k",
    "activation_adabm": "AdaBM: deviation of the input",
    "activation_outlier_aware": "outlier-aware: deviation of the output",
    "weight_gba": "GBA: -g_k",
    "weight_adabm": "AdaBM*: deviation of the weight",
}


RANGES = {STATIC: "min-max ", DAN: "DAN ", WEIGHT: ""}
"""Words for the errors in titles."""

SMALLEST = 1e-30
"""Below this a logarithmic axis would end."""


@dataclass(frozen=True)
class Sensitivities:
    """What is known about the layers of a network.

    Attributes:
        layers: their names, in the network's order.
        body: positions of those between head and tail, the only ones whose bits the papers choose.
        columns: one value per layer, larger where a layer is more sensitive. Errors are mean squared ones of pictures
            in [0, 1].
    """

    layers: Sequence[str]
    body: Sequence[int]
    columns: Mapping[str, Sequence[float]]

    def correlations(self, among: Sequence[int]) -> dict[str, dict[str, float | None]]:
        """Spearman's rank correlation of each measure with each measured error; None where one is constant.

        Args:
            among: positions of the layers that count.
        """
        pairs = dict.fromkeys((STATIC, DAN), ACTIVATION_MEASURES) | {WEIGHT: WEIGHT_MEASURES}
        return {error: {name: self._correlation(error, name, among) for name in of} for error, of in pairs.items()}

    def _correlation(self, error: str, measure: str, among: Sequence[int]) -> float | None:
        pair = [[self.columns[name][i] for i in among] for name in (error, measure)]
        if any(len(set(values)) < 2 for values in pair):
            return None
        return float(spearmanr(*pair).statistic)


def measure_sensitivities(
    network: Network, calibration: CalibrationSet, bits: LayerBits, step: Step = lambda stage, done, total: None
) -> Sensitivities:
    """All measures of all convolutions and linear layers, head and tail included.

    Args:
        network: float, left unchanged.
        calibration: crops; measures take them as the papers do, and measured errors take the same crops.
        bits: of the layer that is quantized, and of all layers where a paper's measure needs a quantized network.
        step: called as the work goes on.

    Raises:
        PolicyError: the network has no such layer.
        DatasetError: the calibration set can't be used.
    """
    plan = resolve(network.eval(), Policy(bits, bits, bits, kinds=("conv", "linear"), symmetric_weights=False))
    dynamic, static = GBA(), GBA(dan_stages=None)
    bounds = initialise_bounds(network, calibration, plan, static)
    with_dan = quantized(network, plan, bounds, 2, dynamic)
    with_ranges = quantized(network, plan, bounds, 2, static)
    pictures = list(calibration.batches(1))
    columns = {
        **_errors(network, with_ranges, {STATIC: _activation_alone, WEIGHT: _weight_alone}, pictures, step),
        **_errors(network, with_dan, {DAN: _activation_alone}, pictures, step),
        **_gba(network, with_dan, plan, calibration, dynamic, step),
        **_adabm(network, plan, calibration),
        **_outlier_aware(network, plan, calibration),
    }
    ends = network.facts.ends
    return Sensitivities(list(plan.layers), [i for i, name in enumerate(plan.layers) if name not in ends], columns)


def sensitivity_files(found: Sensitivities, bits: LayerBits) -> Files:
    """All numbers, the rank correlations, and both as a figure."""
    names = list(TITLES)
    rows: list[list[Cell]] = [
        [layer, *(found.columns[name][i] for name in names)] for i, layer in enumerate(found.layers)
    ]
    psnr = {error: [_psnr(value) for value in found.columns[error]] for error in (STATIC, DAN, WEIGHT)}
    numbers = {
        "bits": {"weight": bits.weight, "activation": bits.activation},
        "rank_correlation": found.correlations(range(len(found.layers))),
        "rank_correlation_between_head_and_tail": found.correlations(found.body),
        "psnr_of_one_quantized_layer": {error: dict(zip(found.layers, of, strict=True)) for error, of in psnr.items()},
    }
    return dict(
        zip(NAMES, (csv_file(["layer", *names], rows), json_file(numbers), png_file(_figure(found, bits))), strict=True)
    )


def _psnr(error: float) -> float | None:
    """In dB, against the float network's picture; None without an error."""
    return -10 * math.log10(error) if error > 0 else None


Alone = Callable[[QuantLayer], nn.Module]
"""From a layer with both quantizers to one with one of them."""


def _activation_alone(layer: QuantLayer) -> nn.Module:
    alone = copy.deepcopy(layer)
    alone.cached_weight = layer.weight.detach()
    return alone


def _weight_alone(layer: QuantLayer) -> nn.Module:
    alone = copy.deepcopy(layer.float_module())
    alone.get_parameter("weight").data = quantized_weight(layer).detach()
    return alone


def _errors(
    network: Network, student: Network, kinds: Mapping[str, Alone], pictures: Sequence[Tensor], step: Step
) -> dict[str, list[float]]:
    """Measured errors of each layer, by the name of the kind."""
    with torch.no_grad():
        expected = [network(picture) for picture in on_device_of(network, pictures)]
    moved = list(on_device_of(network, pictures))
    mixed, layers = copy.deepcopy(network), quant_layers(student.requires_grad_(False))
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for done, (name, layer) in enumerate(layers.items(), 1):
        for kind, alone in kinds.items():
            found[kind].append(error_with(mixed, name, alone(layer), moved, expected))
        step(f"one layer at a time: {', '.join(kinds)}", done, len(layers))
    return found


def _gba(
    network: Network, student: Network, plan: QuantizationPlan, calibration: CalibrationSet, config: GBA, step: Step
) -> dict[str, list[float]]:
    """``-g_k`` (GBA Eq. 6): how much the loss falls with the bits of a layer."""
    batches = (
        b for epoch in range(config.allocation_epochs) for b in calibration.batches(config.allocation_batch, epoch)
    )
    with recorded(network, batches) as lessons:
        return {
            f"{group.removesuffix('s')}_gba": [-g_k for g_k in _gradients(student, group, plan, lessons, config, step)]
            for group in ("activations", "weights")
        }


def _gradients(
    student: Network, group: LearnedGroup, plan: QuantizationPlan, lessons: Lessons, config: GBA, step: Step
) -> list[float]:
    quantizers = quantizers_of(student, group, plan.layers)
    done = iter(range(1, len(lessons) + 1))
    return bit_gradients(
        student, quantizers, lessons, config, lambda: step(f"gradients of bits of {group}", next(done), len(lessons))
    )


@torch.no_grad()
def _adabm(network: Network, plan: QuantizationPlan, calibration: CalibrationSet) -> dict[str, list[float]]:
    """Standard deviations of each layer's input and weight."""
    with layer_sensitivities(network, plan.layers) as found:
        for images in on_device_of(network, calibration.batches(BATCH)):
            network(images)
    inputs = [sum(of_batches) / len(of_batches) for of_batches in found.values()]
    weights: list[float] = weight_sensitivities(network, list(plan.layers)).tolist()
    return {"activation_adabm": inputs, "weight_adabm": weights}


def _outlier_aware(network: Network, plan: QuantizationPlan, calibration: CalibrationSet) -> dict[str, list[float]]:
    """Deviation of each layer's output, whose softmax is ``s_k`` (outlier-aware Eq. 4); the mean over its calls."""
    layers = list(plan.layers)
    calls = _calls(network, layers, next(iter(calibration.batches(1))))
    deviations = feature_deviations(with_features(network, tuple(layers)), calibration.batches(BATCH)).tolist()
    values = [[value for name, value in zip(calls, deviations, strict=True) if name == layer] for layer in layers]
    return {"activation_outlier_aware": [sum(of) / len(of) for of in values]}


@torch.no_grad()
def _calls(network: Network, layers: Sequence[str], images: Tensor) -> list[str]:
    """Names of layers in the order in which they run."""
    calls: list[str] = []
    modules = {name: network.module.get_submodule(name) for name in layers}
    with watch_outputs(modules, lambda name, inputs, output: calls.append(name)):
        network(*on_device_of(network, [images]))
    return calls


def _figure(found: Sensitivities, bits: LayerBits) -> Figure:
    """Activations on the left, weights on the right; measured errors above the measures."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    columns = ((STATIC, DAN, *ACTIVATION_MEASURES), (WEIGHT, *WEIGHT_MEASURES))
    axes = figure.subplots(max(map(len, columns)), 2, sharex=True, squeeze=False)
    for column, names in enumerate(columns):
        for row, name in enumerate(names):
            _draw(axes[row, column], found, name)
        for row in range(len(names), len(axes)):
            axes[row, column].set_visible(False)
        last = axes[len(names) - 1, column]
        last.set_xticks(range(len(found.layers)), found.layers, rotation=90, fontsize=6)
        last.tick_params(labelbottom=True)
    axes[0, 0].set_title(f"Activations at {bits.activation} bits\n{TITLES[STATIC]}", loc="left", fontsize=8)
    axes[0, 1].set_title(f"Weights at {bits.weight} bits\n{TITLES[WEIGHT]}", loc="left", fontsize=8)
    return figure


def _draw(axes: Axes, found: Sensitivities, name: str) -> None:
    is_error, values = name in (STATIC, DAN, WEIGHT), found.columns[name]
    axes.bar(range(len(found.layers)), values, color="#2f7ed8" if is_error else "#e0792b")
    axes.set_title(TITLES[name] + _note(found, name), loc="left", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    if is_error:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(min(values) / 2, SMALLEST))
    else:
        axes.axhline(0, color="black", linewidth=0.6)
        axes.set_yscale("symlog", linthresh=max(statistics.median(map(abs, values)) / 2, SMALLEST))
        axes.yaxis.set_major_locator(SymmetricalLogLocator(axes.yaxis.get_transform(), subs=[1.0]))


def _note(found: Sensitivities, name: str) -> str:
    """Rank correlations of a measure with the errors, among all layers and between head and tail; for its title."""
    everywhere, body = found.correlations(range(len(found.layers))), found.correlations(found.body)
    texts = [
        f"{RANGES[error]}{_shown(everywhere[error][name])} (body {_shown(body[error][name])})"
        for error in everywhere
        if name in everywhere[error]
    ]
    return f"\nrank correlation: {', '.join(texts)}" if texts else ""


def _shown(correlation: float | None) -> str:
    return "-" if correlation is None else f"{correlation:+.2f}"
