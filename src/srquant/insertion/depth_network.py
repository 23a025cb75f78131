"""A network of several depths: all share one set of weights, and a shallower one skips some residual blocks.

Skipped blocks become identities, so what ``DepthNetwork.at`` returns is a plain network.
"""

from collections.abc import Collection, Mapping

from torch import nn

from srquant.errors import PolicyError
from srquant.models.network import Network, copy_sharing_tensors


class DepthNetwork(Network):
    """Upscales at its full depth; ``at`` returns the network of any depth.

    Args:
        network: at full depth.
        depths: from number of blocks to the names of the blocks that run, full depth first.
    """

    def __init__(self, network: Network, depths: Mapping[int, tuple[str, ...]]) -> None:
        super().__init__(network.module, network.facts)
        self.depths = dict(depths)

    def at(self, depth: int) -> Network:
        """The plain network in which ``depth`` blocks run and the others are identities; shares all parameters.

        Raises:
            PolicyError: it was not trained at this depth.
        """
        if depth not in self.depths:
            raise PolicyError(f"depth {depth} was not trained; choose {' or '.join(map(str, self.depths))}")
        return without_blocks(self, self.depths[depth])

    def describe(self) -> str:
        """One line: the depths, and which blocks the shallower ones skip."""
        full, *shallower = self.depths
        skipped = {d: [name for name in self.facts.blocks if name not in self.depths[d]] for d in shallower}
        return f"depth {full}" + "".join(f"; depth {d} without {', '.join(names)}" for d, names in skipped.items())


def without_blocks(network: Network, kept: Collection[str]) -> Network:
    """A plain network in which only the blocks in ``kept`` run and the others are identities; shares all parameters."""
    shallow = Network(copy_sharing_tensors(network.module), network.facts)
    replace_skipped_blocks(shallow, kept)
    return shallow.train(network.training)


def replace_skipped_blocks(network: Network, kept: Collection[str]) -> None:
    """Replace every block that is not in ``kept`` by an identity, in place."""
    for name in network.facts.blocks:
        if name not in kept:
            network.module.set_submodule(name, nn.Identity())


def depths_of(network: Network) -> tuple[tuple[str, ...], ...]:
    """Names of the blocks that run at each depth, full depth first; empty for a plain network that runs all blocks."""
    if isinstance(network, DepthNetwork):
        return tuple(network.depths.values())
    blocks = network.facts.blocks
    kept = tuple(name for name in blocks if not isinstance(network.module.get_submodule(name), nn.Identity))
    return () if kept == blocks else (kept,)
