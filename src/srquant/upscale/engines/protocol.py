"""What every engine offers."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from srquant.models.network import Facts, Network
from srquant.upscale.tiles.tiling import Tiling

Images = NDArray[np.float32]


class Engine(Protocol):
    """Runs one network; several threads may call it at the same time.

    Attributes:
        name: ``torch``, ``triton``, ``openvino`` or ``onnxruntime``; the precision behind it if it isn't float32.
        network: that it runs; None for an exported file.
        facts: of the network.
        tiling: the overlap, alignment and memory of its tiles.
    """

    name: str

    @property
    def network(self) -> Network | None:
        """See ``Engine``."""

    facts: Facts
    tiling: Tiling

    def __call__(self, images: Images) -> Images:
        """Upscale ``N x 3 x H x W`` RGB in [0, 1] to ``N x 3 x scale*H x scale*W`` around [0, 1], not clipped."""
        ...

    def fingerprint(self) -> str:
        """Hexadecimal digits that differ between networks of different facts or weights, and between precisions."""
        ...

    def float_layers(self) -> set[str]:
        """Names of the layers (convolutions, linear layers, matrix products) not computed in integer arithmetic."""
        ...
