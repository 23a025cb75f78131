"""Which codes occur in a frozen network while pictures go through it."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from srquant.deploy.frozen.dynamic import DynamicLayer, DynamicPoints
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.deploy.frozen.layer_spec import ConditionalParts, LayerParts, MatmulParts, Parts
from srquant.deploy.frozen.matmul import OperandGrid
from srquant.insertion.branched_network import BranchedNetwork
from srquant.measure.cost.chosen_bits import chooses, chosen_bits
from srquant.measure.cost.effective_bits import CodesUsed, Seen, counted, watched
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.models.network import Network


def codes_used(model: FrozenModel, pictures: Iterable[Tensor]) -> list[CodesUsed]:
    """Codes of every quantized convolution and linear layer, and of both operands of every matrix product.

    Args:
        model: frozen.
        pictures: ``1 x 3 x H x W`` in [0, 1]; at least one. PyTorch runs the network on each.
    """
    inputs = dict(_inputs(model.parts))
    seen: dict[str, list[Tensor]] = {name: [] for name in inputs}
    bits: dict[str, list[float]] = {name: [] for name in inputs}
    for picture in pictures:
        branch = model.network.branch_for(picture) if isinstance(model.network, BranchedNetwork) else model.network
        for name, calls in _codes_of(branch, picture, inputs).items():
            seen[name].append(torch.stack(calls).any(0))
        for name, taken in _bits_of(branch, picture).items():
            if name in bits:
                bits[name].append(taken)
    by_picture = isinstance(model.network, BranchedNetwork) or chooses(model.network)
    return [
        CodesUsed(name, sum(bits[name]) / len(bits[name]), *weight, counted(seen[name], by_picture))
        for name, weight in inputs.items()
    ]


def _inputs(parts: Mapping[str, Parts]) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Each layer or operand whose codes are counted, with the bits and codes of its weight."""
    for name, part in parts.items():
        if isinstance(part, LayerParts | ConditionalParts):
            yield name, (part.weight_bits, len(torch.unique(part.weight.codes)))
        elif isinstance(part, MatmulParts):
            yield from ((f"{name}.{side}", (None, None)) for side in ("left", "right"))


def _codes_of(network: Network, picture: Tensor, names: Iterable[str]) -> Seen:
    with torch.inference_mode(), watched({name: _grid(network, name) for name in names}) as seen:
        network(picture)
    return seen


def _grid(network: Network, name: str) -> nn.Module:
    """What returns the codes of a layer's input or of an operand, or a quantizer that can tell them."""
    module = network.module.get_submodule(name)
    if isinstance(module, OperandGrid):
        return module
    if not isinstance(module, DynamicLayer):
        return module.get_submodule("grid")
    return module.points.grid if isinstance(module.points, DynamicPoints) else module.points


def _bits_of(network: Network, picture: Tensor) -> dict[str, float]:
    """Activation bits of each layer and operand for a picture."""
    chosen = chosen_bits(network, picture)
    bits: dict[str, float] = {}
    for layer in layer_summaries(network):
        if layer.kind == "matmul":
            bits |= {f"{layer.name}.left": layer.activation_bits, f"{layer.name}.right": layer.weight_bits}
        else:
            bits[layer.name] = chosen.get(layer.name, layer.activation_bits)
    return bits
