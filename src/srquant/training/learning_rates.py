"""Learning rates that depend on the magnitude of the parameters.

Adam changes each parameter by about the learning rate in a step, however small the parameter is. Networks that take
colours in 0-255 but compute with small features have weights of about 0.0004 in their first layer: with the usual rate
of 1e-4, four steps are enough to destroy them.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from srquant.distillation.loop import Rate
from srquant.models.network import Network
from srquant.training.network_parameters import network_parameters

MOST_CHANGE = "most that a step may change a weight, relative to the mean magnitude of its tensor, such as 0.01"


def network_rates(network: Network, learning_rate: float, most_change: float | None) -> list[Rate]:
    """Rates of all parameters that don't belong to quantizers: one for all, or with a limit as ``limited_rates``."""
    parameters = network_parameters(network)
    return (
        [Rate(parameters, learning_rate)]
        if most_change is None
        else limited_rates(parameters, learning_rate, most_change)
    )


def limited_rates(parameters: Iterable[nn.Parameter], learning_rate: float, most_change: float) -> list[Rate]:
    """One rate for each parameter tensor, so small that a step changes it by at most ``most_change``.

    Args:
        parameters: tensors; those that are zero everywhere get ``learning_rate``.
        learning_rate: of Adam, without the limit.
        most_change: limit of the change, relative to the tensor's mean magnitude at the start.
    """
    return [Rate([p], limited_rate(p, learning_rate, most_change)) for p in parameters]


def limited_rate(values: Tensor, learning_rate: float, most_change: float) -> float:
    """The learning rate of one tensor of any shape; see ``limited_rates``."""
    magnitude = float(values.detach().abs().mean())
    return min(learning_rate, most_change * magnitude) if magnitude > 0 else learning_rate
