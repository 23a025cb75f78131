"""Learning rates in units of each tensor's size, so that all of a network learns equally fast.

Adam moves a parameter by about the learning rate in a step, however small the parameter is. Weights and biases take the
rate times their root mean square, bounds times the distance between them. Bounds learn six times more slowly than
weights: each of them decides about all values of a tensor.
"""

from torch import Tensor, nn

from srquant.distillation.loop import Quantizer, Rate, bound_rates
from srquant.models.network import Network
from srquant.quantizers.layers import activation_quantizers, quant_layers
from srquant.training.network_parameters import network_parameters

SMALLEST_SIZE = 1e-3
"""Size of a tensor that is zero everywhere, such as an unused bias."""


def own_size_rates(student: Network, learning_rate: float, bound_rate: float) -> list[Rate]:
    """Rates of everything that learns in a quantized network.

    Args:
        student: quantized; the present sizes count.
        learning_rate: of weights, biases and all other parameters of the network, times their size.
        bound_rate: of bounds, times their distance.
    """
    weights: list[Quantizer] = [layer.weight_quantizer for layer in quant_layers(student).values()]
    bounds = bound_rates([*activation_quantizers(student).values(), *weights], bound_rate, relative=True)
    return [*(_rate(parameter, learning_rate) for parameter in network_parameters(student)), *bounds]


def _rate(parameter: nn.Parameter, learning_rate: float) -> Rate:
    return Rate([parameter], learning_rate * size(parameter))


def size(values: Tensor) -> float:
    """Root mean square, any shape; ``SMALLEST_SIZE`` where all values are zero."""
    return float(values.detach().square().mean().sqrt()) or SMALLEST_SIZE
