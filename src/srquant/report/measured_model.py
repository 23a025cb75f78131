"""What a report says about one model: quality, bits, size, time, and each of its layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from srquant.deploy.float_form import float_form
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.grids.uniform import FLOAT_BITS
from srquant.insertion.branched_network import branches_of
from srquant.measure.cost.layer_costs import layer_costs
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.measure.cost.report import cost_report
from srquant.measure.quality.layer_sensitivity import layer_sensitivity
from srquant.measure.quality.scores import Report
from srquant.models.network import Network
from srquant.report.speed import Speed


@dataclass(frozen=True)
class Candidate:
    """A model of the report.

    Attributes:
        label: its name in the report.
        path: its file.
        model: as ``open_model`` gives it.
    """

    label: str
    path: Path
    model: Network | FrozenModel

    @property
    def frozen(self) -> FrozenModel | None:
        """The model if it is quantized."""
        return self.model if isinstance(self.model, FrozenModel) else None

    @property
    def network(self) -> Network:
        """The network, float or frozen."""
        return self.model.network if isinstance(self.model, FrozenModel) else self.model


@dataclass(frozen=True)
class Layer:
    """One layer of a model.

    Attributes:
        name: in the network.
        weight_bits: 2 to 8, or 32 for float.
        activation_bits: likewise.
        precision: in which OpenVINO computes it here; None if unknown.
        time_share: of the time of all operations, 0 to 1; None where it isn't known.
        sensitivity: mean squared error of the picture if this layer alone is quantized; None where it isn't known.
    """

    name: str
    weight_bits: int
    activation_bits: int
    precision: str | None
    time_share: float | None
    sensitivity: float | None


@dataclass(frozen=True)
class MeasuredModel:
    """A row of the report's table.

    Attributes:
        label: name of the model.
        method: by which it was quantized; None for a float network.
        bits: claimed, weights / activations, such as ``4 / 4``; None for a float network.
        effective: log2 of the codes that occur, weights and activations; None for a float network.
        size_bytes: of the file.
        milliseconds: per 10^6 pixels of the result, the median; None where OpenVINO can't run it.
        integer_share: of the multiplications that OpenVINO computes in integers here, 0 to 1; None if unknown.
        scores: on each benchmark set.
        layers: in the network's order.
    """

    label: str
    method: str | None
    bits: str | None
    effective: str | None
    size_bytes: int
    milliseconds: float | None
    integer_share: float | None
    scores: tuple[Report, ...]
    layers: tuple[Layer, ...]


def measured_model(
    candidate: Candidate, scores: Sequence[Report], speed: Speed | None, crops: Sequence[Tensor], start: Network | None
) -> MeasuredModel:
    """Put together what is known about a model, and measure its bits and the sensitivity of its layers.

    Args:
        candidate: the model.
        scores: on the benchmark sets.
        speed: its times; None where it wasn't timed.
        crops: ``1 x 3 x H x W`` in [0, 1], on which codes are counted and layers are tried.
        start: the float network that it was made of; None if it isn't known.
    """
    frozen = candidate.frozen
    costs = None if frozen is None else cost_report(frozen, crops)
    return MeasuredModel(
        candidate.label,
        None if frozen is None else frozen.origin.method,
        None if frozen is None else f"{frozen.policy.base.weight} / {frozen.policy.base.activation}",
        None if costs is None else costs.effective,
        candidate.path.stat().st_size,
        None if speed is None else speed.milliseconds_per_megapixel(candidate.network.facts.scale),
        None if speed is None else integer_share(candidate.network, speed.precisions),
        tuple(scores),
        tuple(layers_of(candidate.network, speed, sensitivities(candidate, crops, start))),
    )


def layers_of(network: Network, speed: Speed | None, errors: Mapping[str, float]) -> list[Layer]:
    """Every layer of a network; of one with branches, of that with the most bits."""
    precisions = {} if speed is None else speed.precisions
    shares = {} if speed is None else speed.shares
    return [
        Layer(
            layer.name,
            layer.weight_bits,
            layer.activation_bits,
            precisions.get(layer.name),
            shares.get(layer.name),
            errors.get(layer.name),
        )
        for layer in layer_summaries(network)
    ]


def sensitivities(candidate: Candidate, crops: Sequence[Tensor], start: Network | None) -> dict[str, float]:
    """``layer_sensitivity`` of a quantized model; empty without its float network."""
    if start is None or candidate.frozen is None or not same_network(candidate.frozen, start):
        return {}
    return layer_sensitivity(start, branches_of(candidate.network)[-1], crops)


def same_network(model: FrozenModel, start: Network) -> bool:
    """Whether a model may have been made of this float network: the same layers with weights of the same shapes."""
    return _shapes(float_form(model)) == _shapes(start)


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


def integer_share(network: Network, precisions: Mapping[str, str]) -> float:
    """Share of the multiplications that are computed in integers, 0 to 1."""
    macs = {cost.name: cost.macs for cost in layer_costs(network, *SIZE)}
    quantized = {layer.name for layer in layer_summaries(network) if layer.weight_bits != FLOAT_BITS}
    integer = sum(count for name, count in macs.items() if name in quantized and precisions.get(name) == "int8")
    return integer / sum(macs.values())


SIZE = (64, 64)
"""Of the picture whose multiplications are counted."""
