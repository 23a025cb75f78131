"""How weights come to their grid points, chosen by the methods that have the option."""

from collections.abc import Iterable
from typing import Literal

from torch import Tensor

from srquant.models.network import Network
from srquant.weight_rounding.gptaq import correct
from srquant.weight_rounding.gptq import compensate

Rounding = Literal["nearest", "compensated", "corrected"]
"""To the nearest point; so that errors make up for each other; so that they make up for those of the input as well."""

ROUNDING = (
    "of weights: each to its nearest point; so that a layer's inputs make up for each other's errors (GPTQ); "
    "or so that they also make up for what earlier layers and the input's own grid did (GPTAQ)"
)


def round_weights(student: Network, network: Network, batches: Iterable[Tensor], rounding: Rounding) -> None:
    """Put the weights of all quantized layers where ``rounding`` says, in place.

    Args:
        student: quantized, its bounds found, with the weights of the float network.
        network: the float network.
        batches: calibration crops, ``N x 3 x H x W`` in [0, 1].
        rounding: with ``nearest`` nothing is to be done, as quantizers round so by themselves.
    """
    if rounding == "compensated":
        compensate(student, network, batches)
    elif rounding == "corrected":
        correct(student, batches)
