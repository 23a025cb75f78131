"""Put both addends of residual sums on grids, as PAMS, DDTB and CADyQ do in residual blocks."""

from srquant.errors import PolicyError
from srquant.insertion.plan import QuantizationPlan
from srquant.models.blocks.layers import Add
from srquant.models.network import Network
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import QuantAdd, QuantAddends, quant_layers


def quantize_addends(quantized: Network, plan: QuantizationPlan) -> list[str]:
    """Put the addends of the sums in ``plan.addends`` on grids, in place.

    The first addend, which skips the block, is also the input of a quantized layer and takes that layer's quantizer.
    The second addend, the block's output, gets a new quantizer with the same bits and initially the same bounds. So a
    residual block of EDSR has three activation quantizers: for its input, after its ReLU, and for its output.

    Args:
        quantized: made by ``insert_quantizers`` with this plan.
        plan: names the sums, and the layer that reads the first addend of each.

    Returns:
        Names of the sums.

    Raises:
        PolicyError: the sums themselves are on grids.
    """
    layers = quant_layers(quantized)
    for name, layer in plan.addends.items():
        add, left = quantized.module.get_submodule(name), layers[layer].input_quantizer
        if isinstance(add, QuantAdd):
            raise PolicyError("this method puts addends on grids: use float skip connections (skip_bits none)")
        assert isinstance(add, Add)
        assert isinstance(left, ActivationQuantizer)  # fresh from insertion, where all have bounds
        right = ActivationQuantizer(left.lower, left.upper, left.bits, left.narrow)
        quantized.module.set_submodule(name, QuantAddends(add, left, right))
    return list(plan.addends)
