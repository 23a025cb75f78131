"""The precision in which an engine computes a layer."""

from collections.abc import Iterable
from dataclasses import dataclass

INTEGER = "int8"


@dataclass(frozen=True)
class LayerPrecision:
    """Precision of a layer's convolution or matrix product: ``int8``, ``float32``, ..., or ``unknown``."""

    name: str
    precision: str


def float_names(layers: Iterable[LayerPrecision]) -> set[str]:
    """Names of the layers that aren't computed in integers."""
    return {layer.name for layer in layers if layer.precision != INTEGER}
