"""A quantized network together with its policy and how it was quantized."""

from dataclasses import dataclass, field

from srquant.insertion.policy import Policy
from srquant.models.network import Network

OptionValue = bool | int | float | str | None
"""Value of a method's option as JSON holds it."""


@dataclass(frozen=True)
class Origin:
    """How a network was quantized.

    Attributes:
        method: name in ``srquant.methods.METHODS``.
        options: the method's options; JSON values only.
        calibration: fingerprint of the calibration set.
        threads: of PyTorch, in which it was computed; sums of finetuning differ in their last bits between numbers of
            threads, and then the files do. 0: not known.
    """

    method: str
    options: dict[str, OptionValue] = field(default_factory=dict)
    calibration: str = ""
    threads: int = 0


@dataclass(frozen=True)
class QuantizedModel:
    """A quantized or frozen network.

    Attributes:
        network: with ``QuantConv2d``, ``QuantLinear``, ``QuantAdd`` layers, or frozen ones.
        policy: which layers were quantized, and their bits.
        origin: how they were quantized.
    """

    network: Network
    policy: Policy
    origin: Origin
