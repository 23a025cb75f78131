"""A policy resolved for one network: computed once, then used by everything that quantizes this network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import nn

from srquant.errors import PolicyError, suggest
from srquant.insertion.policy import LayerBits, LayerKind, Override, Policy
from srquant.insertion.residual_graph import ResidualGraph, inner_sums, trace_residual_graph
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network

SIDES = ("left", "right")
"""The operands of a matrix product."""


@dataclass(frozen=True)
class QuantizationPlan:
    """A policy resolved for one network. All names are those of the network's modules.

    Attributes:
        policy: the policy that was resolved; it also has the granularity of grids and the symmetry of weight grids.
        layers: bits of each quantized layer, in module order.
        body: the quantized layers with the base bits: neither head nor tail, and matched by no override.
        matmuls: bits of both operands of each quantized matrix product, in module order.
        sums: bits of each residual sum that gets a grid, in module order; empty where sums stay float.
        rectified: those of ``sums`` that are read by ReLUs only; their grid is for the ReLU's output.
        read_sums: for each quantized layer that reads one of ``sums`` directly or through its ReLU, the sum.
        addends: for each sum of a residual block whose first addend is also the input of a quantized layer, the layer.
        next: for each quantized layer whose outputs go to one place only, the module there, see ``ResidualGraph``.
    """

    policy: Policy
    layers: Mapping[str, LayerBits]
    body: tuple[str, ...]
    matmuls: Mapping[str, int]
    sums: Mapping[str, int]
    rectified: frozenset[str]
    read_sums: Mapping[str, str]
    addends: Mapping[str, str]
    next: Mapping[str, str]

    def shared_grids(self) -> dict[str, str]:
        """For each layer that shares the grid of a sum, the sum: the layer reads it and has equal activation bits."""
        return {
            layer: name for layer, name in self.read_sums.items() if self.layers[layer].activation == self.sums[name]
        }

    def activations(self) -> dict[str, int]:
        """Bits by name of each input of a layer, each sum, and each operand (``NAME.left``, ``NAME.right``)."""
        inputs = {name: bits.activation for name, bits in self.layers.items()}
        operands = {f"{name}.{side}": bits for name, bits in self.matmuls.items() for side in SIDES}
        return {**inputs, **self.sums, **operands}

    def with_bits(self, bits: Mapping[str, LayerBits]) -> "QuantizationPlan":
        """The plan with other bits for some of its layers; its policy has one override for each of them."""
        kept = (override for override in self.policy.overrides if override.pattern not in bits)
        overrides = (*kept, *(Override(name, chosen) for name, chosen in bits.items()))
        return replace(
            self,
            policy=replace(self.policy, overrides=overrides),
            layers={**self.layers, **bits},
            body=tuple(name for name in self.body if name not in bits),
        )


def resolve(network: Network, policy: Policy) -> QuantizationPlan:
    """Resolve ``policy`` for ``network``; its residual graph is traced once.

    Raises:
        PolicyError: a pattern matches no layer, or nothing is left to quantize between head and tail.
    """
    layers = _layer_bits(network, policy)
    matmuls = _matmuls(network, policy)
    _refuse_empty_body(network, policy, layers, matmuls)
    graph = trace_residual_graph(network)
    sums = {} if policy.skip_bits is None else dict.fromkeys(inner_sums(network, graph), policy.skip_bits)
    return QuantizationPlan(
        policy=policy,
        layers=layers,
        body=_body(network, policy, layers),
        matmuls=matmuls,
        sums=sums,
        rectified=frozenset(graph.rectified & sums.keys()),
        read_sums={layer: name for layer, name in graph.reads.items() if layer in layers and name in sums},
        addends=_addends(network, graph, layers),
        next={layer: name for layer, name in graph.next.items() if layer in layers},
    )


def quantizable_layers(network: Network) -> list[str]:
    """Names of the convolutions and linear layers that run, in module order."""
    layers = (name for name, layer in network.module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear))
    return [name for name in layers if name not in network.facts.unused]


def _layer_bits(network: Network, policy: Policy) -> dict[str, LayerBits]:
    names = quantizable_layers(network)
    bits = {name: _default_bits(name, network, policy) for name in names}
    for override in policy.overrides:
        for name in matching_layers(override.pattern, names):
            bits[name] = override.bits
    return {name: chosen for name, chosen in bits.items() if chosen is not None}


def _default_bits(name: str, network: Network, policy: Policy) -> LayerBits | None:
    if not _kinds_of(name, network) & set(policy.kinds):
        return None
    if name in network.facts.head:
        return policy.head
    return policy.tail if name in network.facts.tail else policy.base


def _kinds_of(name: str, network: Network) -> set[LayerKind]:
    if isinstance(network.module.get_submodule(name), nn.Linear):
        return {"linear"}
    blocks = tuple(f"{block}." for block in network.facts.blocks)
    return {"conv", "block-conv"} if name.startswith(blocks) else {"conv"}


def matching_layers(pattern: str, names: Iterable[str]) -> list[str]:
    """Layers whose name matches a pattern with ``*``, ``?`` and ``[...]``.

    Raises:
        PolicyError: none does.
    """
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        raise PolicyError(f"pattern {pattern!r} matches no layer; {suggest(pattern, names)}")
    return matching


def _matmuls(network: Network, policy: Policy) -> dict[str, int]:
    if "matmul" not in policy.kinds:
        return {}
    modules = network.module.named_modules()
    return {name: policy.base.activation for name, module in modules if isinstance(module, Matmul)}


def _refuse_empty_body(
    network: Network, policy: Policy, layers: Mapping[str, LayerBits], matmuls: Mapping[str, int]
) -> None:
    ends = network.facts.ends
    if matmuls or not layers.keys() <= ends:
        return
    inside = len([name for name in quantizable_layers(network) if name not in ends])
    found = f"all {inside} convolutions and linear layers there are kept float" if inside else "it has no layer"
    raise PolicyError(
        f"nothing to quantize between the network's head and tail: {found}; give layers there bits, quantize "
        f"more than {', '.join(policy.kinds)}, or take another network"
    )


def _body(network: Network, policy: Policy, layers: Iterable[str]) -> tuple[str, ...]:
    patterns = [override.pattern for override in policy.overrides]
    inside = (name for name in layers if name not in network.facts.ends)
    return tuple(name for name in inside if not any(fnmatchcase(name, pattern) for pattern in patterns))


def _addends(network: Network, graph: ResidualGraph, layers: Mapping[str, LayerBits]) -> dict[str, str]:
    blocks = tuple(f"{block}." for block in network.facts.features)
    readers = graph.addend_readers.items()
    return {name: layer for name, layer in readers if layer in layers and name.startswith(blocks)}
