"""A network of three branches: the gradient density of a picture decides which branch upscales it.

The branches are plain networks, quantized or frozen, that differ only in their activation bits.
"""

from torch import Tensor

from srquant.grids.picture_density import gradient_density
from srquant.models.network import Network

PICTURE_BITS = (-1, 0, 1)
"""What a picture of low, middle or high gradient density adds to the bits of layers."""

MIDDLE = 0
NAMES = {-1: "low", 0: "middle", 1: "high"}
"""Names of the branches by what their pictures add to the bits."""


class BranchedNetwork(Network):
    """Upscales each picture by the branch for its gradient density.

    ``module`` is that of the middle branch, which represents all of them for code that expects one network.

    Args:
        branches: for pictures that add -1, 0 and +1 bits, in this order.
        thresholds: 2 densities float32; below the first a picture adds -1, above the second +1.
    """

    def __init__(self, branches: tuple[Network, Network, Network], thresholds: Tensor) -> None:
        low, middle, high = branches
        super().__init__(middle.module, middle.facts)
        self.low, self.high = low, high
        self.thresholds: Tensor
        self.register_buffer("thresholds", thresholds.detach().clone())

    @property
    def branches(self) -> dict[int, Network]:
        """The branches by what their pictures add to the bits: -1, 0, 1."""
        return dict(zip(PICTURE_BITS, (self.low, Network(self.module, self.facts), self.high), strict=True))

    def picture_bits(self, density: Tensor) -> Tensor:
        """``N`` densities to ``N`` of -1, 0, 1 (int64)."""
        lower, upper = self.thresholds.to(density.device)
        bits: Tensor = (density > upper).long() - (density < lower).long()
        return bits

    def describe(self) -> str:
        """One line: which picture takes which branch."""
        lower, upper = self.thresholds.tolist()
        return f"gradient density below {lower:.2f}: branch low; above {upper:.2f}: branch high; between: branch middle"

    def bits_for(self, image: Tensor) -> int:
        """What a picture, ``1 x 3 x H x W`` in [0, 1], adds to the bits."""
        (bits,) = self.picture_bits(gradient_density(image)).tolist()
        return int(bits)

    def branch_for(self, image: Tensor) -> Network:
        """The branch that upscales a picture, ``1 x 3 x H x W`` in [0, 1]."""
        return self.branches[self.bits_for(image)]

    def forward(self, images: Tensor) -> Tensor:
        """Upscale, as ``Network``; each picture by its branch."""
        bits = self.picture_bits(gradient_density(images))
        parts = {b: self.branches[b](images[bits == b]) for b in set(bits.tolist())}
        first: Tensor = next(iter(parts.values()))
        upscaled: Tensor = first.new_empty(len(images), *first.shape[1:])
        for b, part in parts.items():
            upscaled[bits == b] = part
        return upscaled


def branches_of(network: Network) -> list[Network]:
    """The branches of a branched network: low, middle, high; for any other network a list of itself."""
    return list(network.branches.values()) if isinstance(network, BranchedNetwork) else [network]


def representative(network: Network) -> Network:
    """The middle branch of a branched network; any other network is returned as it is."""
    return network.branches[MIDDLE] if isinstance(network, BranchedNetwork) else network
