"""The methods that train weights against high-resolution pictures; ``TRAINED`` lists them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor

from srquant.insertion.policy import LayerKind, Policy
from srquant.methods import float_training
from srquant.methods.cabm import method as cabm
from srquant.methods.cadyq import method as cadyq
from srquant.methods.daq import method as daq
from srquant.methods.ddtb import method as ddtb
from srquant.methods.dorefa import method as dorefa
from srquant.methods.odm import method as odm
from srquant.methods.pams import method as pams
from srquant.methods.quantsr import method as quantsr
from srquant.models.network import Network
from srquant.training.student import Student

Config = TypeVar("Config", contravariant=True)


class Prepare(Protocol[Config]):
    """Signature of a method's ``prepare``."""

    def __call__(
        self, network: Network, crops: Sequence[Tensor], policy: Policy, config: Config, steps: int
    ) -> Student:
        """Make a network ready for training.

        Args:
            network: float; left unchanged.
            crops: a few batches of low-resolution training crops, ``N x 3 x H x W`` in [0, 1], for first ranges.
            policy: which layers are quantized, and with how many bits.
            config: the method's options.
            steps: number of training steps in the whole run.

        Raises:
            PolicyError: the policy or an option doesn't fit the network.
        """


@dataclass(frozen=True)
class TrainedMethod(Generic[Config]):
    """A method that trains a quantized network, or the float one.

    Attributes:
        name: as the command line takes it.
        summary: one line.
        config: class of its options, a frozen dataclass; see ``srquant.methods.options``.
        prepare: makes the student, the network in training with its loss.
        attention: kinds of layers that it quantizes by default in networks with attention.
    """

    name: str
    summary: str
    config: type[Config]
    prepare: Prepare[Config]
    attention: tuple[LayerKind, ...] = ("linear",)


TRAINED: dict[str, TrainedMethod[Any]] = {
    method.name: method
    for method in (
        TrainedMethod(
            "quantsr",
            "learned quantizers with redistribution, several depths in one (QuantSR, NeurIPS 2023)",
            quantsr.QuantSR,
            quantsr.prepare,
            ("linear", "block-conv"),
        ),
        TrainedMethod("pams", "learned symmetric bounds (Li et al., ECCV 2020)", pams.PAMS, pams.prepare),
        TrainedMethod("daq", "grids by mean and deviation of channels (Hong et al., WACV 2022)", daq.DAQ, daq.prepare),
        TrainedMethod(
            "ddtb", "two learned bounds, scaled by dynamic gates (Zhong et al., ECCV 2022)", ddtb.DDTB, ddtb.prepare
        ),
        TrainedMethod("odm", "cooperative mismatch regularization (Hong and Lee, ECCV 2024)", odm.ODM, odm.prepare),
        TrainedMethod(
            "dorefa", "tanh of weights, moving largest magnitudes (Zhou et al. 2016)", dorefa.DoReFa, dorefa.prepare
        ),
        TrainedMethod(
            "cadyq", "bits of every layer chosen for each picture (Hong et al., ECCV 2022)", cadyq.CADyQ, cadyq.prepare
        ),
        TrainedMethod("cabm", "bits from a table of edge scores (Tian et al., CVPR 2023)", cabm.CABM, cabm.prepare),
        TrainedMethod(
            "float",
            "the float network itself (EDSR, Lim et al. 2017)",
            float_training.FloatTraining,
            float_training.prepare,
        ),
    )
}
