"""Rounding of weights to grid points, for the methods that have it as an option."""

from collections.abc import Iterable
from typing import Literal

from torch import Tensor

from srquant.models.network import Network
from srquant.weight_rounding.gptaq import apply_gptaq
from srquant.weight_rounding.gptq import apply_gptq

Rounding = Literal["nearest", "gptq", "gptaq"]
"""To the nearest point; GPTQ: later weights compensate the errors of earlier ones; GPTAQ: and the error of inputs."""

ALIASES = {"compensated": "gptq", "corrected": "gptaq"}
"""Accepted aliases of option values."""

ROUNDING = (
    "of weights: each to its nearest point; GPTQ: a layer's weights compensate each other's rounding errors; "
    "GPTAQ: they also compensate the error of quantized inputs"
)


def round_weights(student: Network, network: Network, batches: Iterable[Tensor], rounding: Rounding) -> None:
    """Round the weights of all quantized layers, in place.

    Args:
        student: quantized, with final bounds and the weights of the float network.
        network: the float network.
        batches: calibration crops, ``N x 3 x H x W`` in [0, 1].
        rounding: ``nearest`` changes nothing, because weight quantizers round to nearest anyway.
    """
    if rounding == "gptq":
        apply_gptq(student, network, batches)
    elif rounding == "gptaq":
        apply_gptaq(student, batches)
