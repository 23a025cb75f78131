"""Operations and weights as QuantSR counts them: a layer of ``b`` bits counts ``b/32`` of the float one.

QuantSR, supplement, section 1.3: "we compute the FLOPs and storage savings of the quantization portion as b/32".
"""

from collections.abc import Sequence
from dataclasses import dataclass

from srquant.grids.uniform import FLOAT_BITS
from srquant.measure.cost.formulas import LayerCost


@dataclass(frozen=True)
class Compression:
    """What is left of a network's operations and weights; products of two activations and biases aren't counted.

    Attributes:
        operations: multiply-accumulates, each times ``b/32``; ``b`` is the larger of weight and activation bits.
        weights: number of weights, each times its bits / 32.
        operations_saved: share of the float network's operations that is saved, 0..1.
        weights_saved: the same of the weights.
    """

    operations: float
    weights: float
    operations_saved: float
    weights_saved: float

    def __str__(self) -> str:
        saved = f"{self.operations_saved:.1%} fewer", f"{self.weights_saved:.1%} fewer"
        return (
            f"counted as b/32: {self.operations / 1e9:.2f} G operations ({saved[0]}, in theory "
            f"{1 / (1 - self.operations_saved):.1f} times as fast), {self.weights / 1e3:,.0f} K weights ({saved[1]})"
        )


def compression(costs: Sequence[LayerCost], of: Sequence[LayerCost] | None = None) -> Compression:
    """How much smaller a quantized network is.

    Args:
        costs: all layers of the network.
        of: all layers of the float network that it is compared with; None: of the same network in float.
    """
    layers = [cost for cost in costs if cost.weight_count]
    operations = sum(cost.macs * max(cost.weight_bits, cost.activation_bits) for cost in layers) / FLOAT_BITS
    weights = sum(cost.weight_count * cost.weight_bits for cost in layers) / FLOAT_BITS
    compared = layers if of is None else [cost for cost in of if cost.weight_count]
    all_operations, all_weights = sum(c.macs for c in compared), sum(c.weight_count for c in compared)
    return Compression(operations, weights, 1 - operations / all_operations, 1 - weights / all_weights)
