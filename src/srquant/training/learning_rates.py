"""Learning rates that fit the size of what learns.

Adam moves every number by about its learning rate in a step, whatever the number's size. Networks that take colours in
0-255 but compute on small features have first weights of 0.0004: at the usual 1e-4 they are gone after four steps.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from srquant.distillation.loop import Rate
from srquant.models.network import Network
from srquant.training.network_parameters import network_parameters

MOST_CHANGE = "limit of the rates of weights: part of a tensor's mean magnitude in a step, such as 0.01"


def network_rates(network: Network, learning_rate: float, most_change: float | None) -> list[Rate]:
    """Of all that is no quantizer's: one rate, or as ``limited_rates`` where there is a limit."""
    parameters = network_parameters(network)
    return (
        [Rate(parameters, learning_rate)]
        if most_change is None
        else limited_rates(parameters, learning_rate, most_change)
    )


def limited_rates(parameters: Iterable[nn.Parameter], learning_rate: float, most_change: float) -> list[Rate]:
    """One rate for each parameter: at most so large that a step moves it by ``most_change`` of its mean magnitude.

    Args:
        parameters: those that are zero everywhere get the learning rate itself.
        learning_rate: of Adam.
        most_change: relative to the mean magnitude at the start.
    """
    return [Rate([p], limited_rate(p, learning_rate, most_change)) for p in parameters]


def limited_rate(size: Tensor, learning_rate: float, most_change: float) -> float:
    """The learning rate of what has this size, any shape; see ``limited_rates``."""
    magnitude = float(size.detach().abs().mean())
    return min(learning_rate, most_change * magnitude) if magnitude > 0 else learning_rate
