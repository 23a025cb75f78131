"""Which layers are quantized and with how many bits."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from torch import nn

from srquant.errors import PolicyError, suggest
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.models.blocks.layers import Matmul
from srquant.models.network import Network

Granularity = Literal["tensor", "channel"]
Kind = Literal["conv", "linear", "matmul"]
KINDS: tuple[Kind, ...] = ("conv", "linear", "matmul")


def check_bits(what: str, bits: int) -> None:
    """Raise a ``PolicyError`` unless ``bits`` is an integer from 2 to 8."""
    if isinstance(bits, bool) or not isinstance(bits, int) or not FEWEST_BITS <= bits <= MOST_BITS:
        raise PolicyError(f"{what}: {bits!r}; use an integer from {FEWEST_BITS} to {MOST_BITS}")


@dataclass(frozen=True)
class LayerBits:
    """Bits of one layer.

    Attributes:
        weight: 2..8.
        activation: 2..8, of the layer's input.
    """

    weight: int
    activation: int

    def __post_init__(self) -> None:
        for kind, bits in (("weight", self.weight), ("activation", self.activation)):
            check_bits(f"{kind} bits", bits)


@dataclass(frozen=True)
class Override:
    """Other bits for the layers whose name matches.

    Attributes:
        pattern: layer name with ``*``, ``?`` and ``[...]``.
        bits: their bits; None keeps them float.
    """

    pattern: str
    bits: LayerBits | None


@dataclass(frozen=True)
class Policy:
    """Bits of every layer of a network.

    The default is the fully quantized setting of GBA, AdaBM and the outlier-aware paper: first layer and tail 8 bit,
    everything between at the base bits, residual adds in float.

    Attributes:
        base: bits of the layers that are neither head nor tail.
        head: bits of the first layers; None keeps them float.
        tail: bits of the upsampler and the last layer; None keeps them float.
        skip_bits: bits of the sums after residual adds; None keeps them float, as published.
        overrides: the last pattern that matches a layer decides.
        granularity: one weight grid per ``tensor`` or per output ``channel``.
        activation_granularity: one grid per ``tensor`` as in the papers, or per input ``channel`` of a layer; integer
            engines run both at the same speed.
        symmetric_weights: weight grids reach equally far to both sides; else they have two bounds.
        kinds: what is quantized. Both operands of a ``matmul`` (attention) take the base bits of activations.
    """

    base: LayerBits = LayerBits(4, 4)
    head: LayerBits | None = LayerBits(8, 8)
    tail: LayerBits | None = LayerBits(8, 8)
    skip_bits: Literal[8] | None = None
    overrides: tuple[Override, ...] = ()
    granularity: Granularity = "tensor"
    activation_granularity: Granularity = "tensor"
    symmetric_weights: bool = True
    kinds: tuple[Kind, ...] = ("conv", "linear")

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(KINDS):
            raise PolicyError(f"kinds of layers are {', '.join(self.kinds) or 'none'}: use some of {', '.join(KINDS)}")
        if self.skip_bits not in (None, 8):
            raise PolicyError(f"skip_bits is {self.skip_bits!r}: use 8, or None for a float skip stream")
        for granularity in (self.granularity, self.activation_granularity):
            if granularity not in ("tensor", "channel"):
                raise PolicyError(f"granularity is {granularity!r}: use 'tensor' or 'channel'")

    def resolve(self, network: Network) -> dict[str, LayerBits]:
        """Bits of each layer that is quantized, in the order of the network's modules.

        Raises:
            PolicyError: a pattern matches no layer, or nothing is left to quantize between head and tail.
        """
        names = quantizable_layers(network)
        bits = {name: self._default(name, network) for name in names}
        for override in self.overrides:
            for name in _matching(override.pattern, names):
                bits[name] = override.bits
        resolved = {name: chosen for name, chosen in bits.items() if chosen is not None}
        ends = network.facts.ends
        if resolved.keys() <= ends and not self.matmuls(network):
            inside = len([name for name in names if name not in ends])
            found = f"all {inside} convolutions and linear layers there are kept float" if inside else "it has no layer"
            raise PolicyError(
                f"nothing to quantize between the network's head and tail: {found}; give layers there bits, quantize "
                f"more than {', '.join(self.kinds)}, or take another network"
            )
        return resolved

    def matmuls(self, network: Network) -> list[str]:
        """Names of the matrix products whose operands are quantized, in the order of the network's modules."""
        if "matmul" not in self.kinds:
            return []
        return [name for name, module in network.module.named_modules() if isinstance(module, Matmul)]

    def body(self, network: Network, fixed: Iterable[str] = ()) -> list[str]:
        """Layers at the base bits: neither head nor tail, matched by no override and by no pattern of ``fixed``."""
        ends, patterns = network.facts.ends, [*fixed, *(override.pattern for override in self.overrides)]
        names = [name for name in self.resolve(network) if name not in ends]
        return [name for name in names if not any(fnmatchcase(name, pattern) for pattern in patterns)]

    def _default(self, name: str, network: Network) -> LayerBits | None:
        kind: Kind = "linear" if isinstance(network.module.get_submodule(name), nn.Linear) else "conv"
        if kind not in self.kinds:
            return None
        if name in network.facts.head:
            return self.head
        return self.tail if name in network.facts.tail else self.base


def quantizable_layers(network: Network) -> list[str]:
    """Names of the convolutions and linear layers, in module order."""
    return [name for name, layer in network.module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    matching = [name for name in names if fnmatchcase(name, pattern)]
    if not matching:
        raise PolicyError(f"pattern {pattern!r} matches no layer; {suggest(pattern, names)}")
    return matching
