"""What each depth of a network of several depths costs."""

from collections.abc import Iterable
from dataclasses import dataclass

from srquant.deploy.file.save_load import size_of
from srquant.deploy.frozen.depth import at_depth
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.insertion.depth_network import DepthNetwork
from srquant.measure.cost.compression import Compression, compression
from srquant.measure.cost.formulas import bit_ops
from srquant.measure.cost.layer_costs import layer_costs


@dataclass(frozen=True)
class DepthCost:
    """One depth.

    Attributes:
        depth: number of residual blocks that run.
        blocks: their names.
        bit_ops: bit operations for one picture.
        compression: operations and weights counted as ``b/32``, compared with the float network of all blocks.
        size_bytes: bytes of the tensors in a file that holds this depth alone.
    """

    depth: int
    blocks: tuple[str, ...]
    bit_ops: float
    compression: Compression
    size_bytes: int


def depth_costs(model: FrozenModel, height: int, width: int) -> Iterable[DepthCost]:
    """What each depth costs, full depth first; empty for a network of one depth.

    Args:
        model: frozen.
        height: rows of the low-resolution picture.
        width: its columns.
    """
    if isinstance(model.network, DepthNetwork):
        whole = layer_costs(model.network, height, width)
        for depth, blocks in model.network.depths.items():
            plain = at_depth(model, depth)
            costs = layer_costs(plain.network, height, width)
            yield DepthCost(depth, blocks, bit_ops(costs), compression(costs, whole), size_of(plain))
