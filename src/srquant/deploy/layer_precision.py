"""What an engine computes a layer in."""

from collections.abc import Iterable
from dataclasses import dataclass

INTEGER = "int8"


@dataclass(frozen=True)
class LayerPrecision:
    """What a layer's convolution or matrix product is computed in: ``int8``, ``float32``, ..., ``unknown``."""

    name: str
    precision: str


def float_names(layers: Iterable[LayerPrecision]) -> set[str]:
    """Names of the layers that aren't computed in integers."""
    return {layer.name for layer in layers if layer.precision != INTEGER}
