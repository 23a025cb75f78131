"""Which layers are quantized and with how many bits."""

from dataclasses import dataclass
from typing import Literal

from srquant.errors import PolicyError
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS

Granularity = Literal["tensor", "channel"]
LayerKind = Literal["conv", "linear", "matmul", "block-conv"]
LAYER_KINDS: tuple[LayerKind, ...] = ("conv", "linear", "matmul", "block-conv")


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
    """Bits of every layer of a network; ``srquant.insertion.plan.resolve`` applies it to one network.

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
        symmetric_weights: weight grids have the bounds ``-upper, upper``; if False, two independent bounds.
        kinds: what is quantized. Both operands of a ``matmul`` (attention) take the base bits of activations. A
            ``block-conv`` is a convolution inside one of ``Facts.blocks``.
    """

    base: LayerBits = LayerBits(4, 4)
    head: LayerBits | None = LayerBits(8, 8)
    tail: LayerBits | None = LayerBits(8, 8)
    skip_bits: Literal[8] | None = None
    overrides: tuple[Override, ...] = ()
    granularity: Granularity = "tensor"
    activation_granularity: Granularity = "tensor"
    symmetric_weights: bool = True
    kinds: tuple[LayerKind, ...] = ("conv", "linear")

    def __post_init__(self) -> None:
        if not self.kinds or not set(self.kinds) <= set(LAYER_KINDS):
            given, known = ", ".join(self.kinds) or "none", ", ".join(LAYER_KINDS)
            raise PolicyError(f"kinds of layers are {given}: use some of {known}")
        if self.skip_bits not in (None, 8):
            raise PolicyError(f"skip_bits is {self.skip_bits!r}: use 8, or None for float skip connections")
        for granularity in (self.granularity, self.activation_granularity):
            if granularity not in ("tensor", "channel"):
                raise PolicyError(f"granularity is {granularity!r}: use 'tensor' or 'channel'")
