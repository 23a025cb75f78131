"""Which codes occur in a frozen network while pictures go through it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from srquant.deploy.frozen.freeze import FrozenModel
from srquant.insertion.branched_network import BranchedNetwork
from srquant.measure.cost.chosen_bits import chooses_bits, chosen_bits
from srquant.measure.cost.effective_bits import CodesSeen, CodesUsed, count_codes, record_codes
from srquant.measure.cost.layer_summaries import layer_summaries
from srquant.models.network import Network
from srquant.quantizers.module_spec import LayerSpec, MatmulSpec, ModuleSpec


def codes_used(model: FrozenModel, pictures: Iterable[Tensor]) -> list[CodesUsed]:
    """Codes of every quantized convolution and linear layer, and of both operands of every matrix product.

    Args:
        model: frozen.
        pictures: ``1 x 3 x H x W`` in [0, 1]; at least one. PyTorch runs the network on each.
    """
    inputs = dict(_inputs(model.specs))
    seen: dict[str, list[Tensor]] = {name: [] for name in inputs}
    bits: dict[str, list[float]] = {name: [] for name in inputs}
    for picture in pictures:
        branch = model.network.branch_for(picture)
        for name, calls in _codes_of(branch, picture, inputs).items():
            seen[name].append(torch.stack(calls).any(0))
        for name, taken in _bits_of(branch, picture).items():
            if name in bits:
                bits[name].append(taken)
    by_picture = isinstance(model.network, BranchedNetwork) or chooses_bits(model.network)
    return [
        CodesUsed(name, sum(bits[name]) / len(bits[name]), *weight, count_codes(seen[name], by_picture))
        for name, weight in inputs.items()
    ]


def _inputs(specs: Mapping[str, ModuleSpec]) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    """Each layer or operand whose codes are counted, with the bits and codes of its weight."""
    for name, spec in specs.items():
        if isinstance(spec, LayerSpec):
            yield name, (spec.weight_bits, len(torch.unique(spec.weight.codes)))
        elif isinstance(spec, MatmulSpec):
            yield from ((f"{name}.{side}", (None, None)) for side in ("left", "right"))


def _codes_of(network: Network, picture: Tensor, names: Iterable[str]) -> CodesSeen:
    with torch.inference_mode(), record_codes({name: _code_source(network, name) for name in names}) as seen:
        network(picture)
    return seen


def _code_source(network: Network, name: str) -> nn.Module:
    """The module whose method ``codes`` gives the codes of a layer's input or of an operand."""
    module: Any = network.module.get_submodule(name)
    source: nn.Module = module.code_source
    return source


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
