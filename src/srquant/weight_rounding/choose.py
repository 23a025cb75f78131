"""How weights come to their grid points, chosen by the methods that have the option."""

from collections.abc import Iterable
from typing import Literal

from torch import Tensor

from srquant.models.network import Network
from srquant.weight_rounding.gptaq import apply_gptaq
from srquant.weight_rounding.gptq import apply_gptq

Rounding = Literal["nearest", "gptq", "gptaq"]
"""To the nearest point; GPTQ: weights make up for each other's errors; GPTAQ: for the error of inputs as well."""

ALIASES = {"compensated": "gptq", "corrected": "gptaq"}
"""Other names that options take."""

ROUNDING = (
    "of weights: each to its nearest point; so that a layer's weights make up for each other's errors (GPTQ); "
    "or so that they also make up for the error of quantized inputs (GPTAQ)"
)


def round_weights(student: Network, network: Network, batches: Iterable[Tensor], rounding: Rounding) -> None:
    """Put the weights of all quantized layers where ``rounding`` says, in place.

    Args:
        student: quantized, its bounds found, with the weights of the float network.
        network: the float network.
        batches: calibration crops, ``N x 3 x H x W`` in [0, 1].
        rounding: with ``nearest`` nothing is to be done, as quantizers round so by themselves.
    """
    if rounding == "gptq":
        apply_gptq(student, network, batches)
    elif rounding == "gptaq":
        apply_gptaq(student, batches)
