"""The frozen networks of several depths that one file holds, and what each costs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from srquant.deploy.file.save_load import size_of
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.errors import PolicyError
from srquant.insertion.depth_network import DepthNetwork
from srquant.measure.cost.formulas import bit_ops
from srquant.measure.cost.layer_costs import layer_costs


@dataclass(frozen=True)
class DepthCost:
    """One depth.

    Attributes:
        depth: number of residual blocks that run.
        blocks: their names.
        bit_ops: bit operations for one picture.
        size_bytes: tensors of a file that holds this depth alone.
    """

    depth: int
    blocks: tuple[str, ...]
    bit_ops: float
    size_bytes: int


def at_depth(model: FrozenModel, depth: int) -> FrozenModel:
    """The plain frozen network of one depth; shares all tensors.

    Raises:
        PolicyError: the network was not trained at this depth.
    """
    if not isinstance(model.network, DepthNetwork):
        raise PolicyError(f"depth {depth}: the network was trained at one depth only; leave the depth out")
    network = model.network.at(depth)
    running = {name for name, _ in network.module.named_modules()}
    return replace(model, network=network, parts={n: part for n, part in model.parts.items() if n in running})


def depth_costs(model: FrozenModel, height: int, width: int) -> Iterable[DepthCost]:
    """What each depth costs, full depth first; nothing for a network of one depth.

    Args:
        model: frozen.
        height: rows of the low-resolution picture.
        width: its columns.
    """
    if isinstance(model.network, DepthNetwork):
        for depth, blocks in model.network.depths.items():
            plain = at_depth(model, depth)
            operations = bit_ops(layer_costs(plain.network, height, width))
            yield DepthCost(depth, blocks, operations, size_of(plain))
