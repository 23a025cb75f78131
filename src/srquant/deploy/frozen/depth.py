"""The frozen networks of several depths that one file holds."""

from dataclasses import replace

from srquant.deploy.frozen.freeze import FrozenModel
from srquant.errors import PolicyError
from srquant.insertion.depth_network import DepthNetwork


def at_depth(model: FrozenModel, depth: int) -> FrozenModel:
    """The plain frozen network of one depth; shares all tensors.

    Raises:
        PolicyError: the network was not trained at this depth.
    """
    if not isinstance(model.network, DepthNetwork):
        raise PolicyError(f"depth {depth}: the network was trained at one depth only; leave the depth out")
    network = model.network.at(depth)
    running = {name for name, _ in network.module.named_modules()}
    return replace(model, network=network, specs={n: spec for n, spec in model.specs.items() if n in running})
