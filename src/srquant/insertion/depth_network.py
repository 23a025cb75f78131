"""A network of several depths: one set of weights, of which a shallower network leaves residual blocks out.

Everything behind the choice of a depth sees plain networks only.
"""

import copy
from collections.abc import Collection, Mapping

from torch import nn

from srquant.errors import PolicyError
from srquant.models.network import Network


class DepthNetwork(Network):
    """Upscales at its full depth; ``at`` gives the shallower networks.

    Args:
        network: at full depth.
        depths: for each number of blocks the names of those that run, full depth first.
    """

    def __init__(self, network: Network, depths: Mapping[int, tuple[str, ...]]) -> None:
        super().__init__(network.module, network.facts)
        self.depths = dict(depths)

    def at(self, depth: int) -> Network:
        """The plain network of so many blocks; shares all parameters.

        Raises:
            PolicyError: it was not trained at this depth.
        """
        if depth not in self.depths:
            raise PolicyError(f"depth {depth} was not trained; choose {' or '.join(map(str, self.depths))}")
        return without_blocks(self, self.depths[depth])

    def describe(self) -> str:
        """One line: the depths, and what the shallower ones leave out."""
        full, *shallower = self.depths
        left_out = {d: [name for name in self.facts.blocks if name not in self.depths[d]] for d in shallower}
        return f"depth {full}" + "".join(f"; depth {d} without {', '.join(names)}" for d, names in left_out.items())


def without_blocks(network: Network, kept: Collection[str]) -> Network:
    """A plain network that runs the named blocks only; shares all parameters."""
    shared = {id(tensor): tensor for tensor in [*network.module.parameters(), *network.module.buffers()]}
    shallow = Network(copy.deepcopy(network.module, shared), network.facts)
    leave_out(shallow, kept)
    return shallow.train(network.training)


def leave_out(network: Network, kept: Collection[str]) -> None:
    """Put nothing in the place of blocks that aren't named, in place."""
    for name in network.facts.blocks:
        if name not in kept:
            network.module.set_submodule(name, nn.Identity())


def depths_of(network: Network) -> tuple[tuple[str, ...], ...]:
    """The blocks that run at each depth, full depth first; empty for a plain network that has all its blocks."""
    if isinstance(network, DepthNetwork):
        return tuple(network.depths.values())
    blocks = network.facts.blocks
    kept = tuple(name for name in blocks if not isinstance(network.module.get_submodule(name), nn.Identity))
    return () if kept == blocks else (kept,)
