"""What each depth of a network of several depths costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from srquant.deploy.file.save_load import size_of
from srquant.deploy.frozen.depth import at_depth
from srquant.deploy.frozen.freeze import FrozenModel
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
        size_bytes: bytes of the tensors in a file that holds this depth alone.
    """

    depth: int
    blocks: tuple[str, ...]
    bit_ops: float
    size_bytes: int


def depth_costs(model: FrozenModel, height: int, width: int) -> Iterable[DepthCost]:
    """What each depth costs, full depth first; empty for a network of one depth.

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
