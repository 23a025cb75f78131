"""The post-training methods, one folder each; ``METHODS`` lists them."""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import Progress
from srquant.insertion.policy import Granularity, LayerKind, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.adabm import method as adabm
from srquant.methods.adabm.options import AdaBM
from srquant.methods.auto import method as auto
from srquant.methods.distill import method as distill
from srquant.methods.gba import method as gba
from srquant.methods.outlier_aware import method as outlier_aware
from srquant.methods.ptq4sr import method as ptq4sr
from srquant.methods.ranges import minmax, mse, percentile, tails
from srquant.methods.two_d_quant import method as two_d_quant
from srquant.models.network import Network
from srquant.training.run_folder import RunFolder

Config = TypeVar("Config", contravariant=True)


class Quantize(Protocol[Config]):
    """Signature of a method's ``quantize``."""

    def __call__(
        self,
        network: Network,
        calibration: CalibrationSet,
        policy: Policy,
        config: Config,
        progress: Progress | None = None,
    ) -> QuantizedModel:
        """Quantize a network.

        Args:
            network: float; left unchanged.
            calibration: low-resolution crops, no ground truth.
            policy: which layers are quantized, and with how many bits.
            config: the method's options.
            progress: called after every step of learning.

        Raises:
            PolicyError: the policy or an option doesn't fit the network.
            DatasetError: the calibration set can't be used.
        """


class QuantizeInFolder(Protocol[Config]):
    """Signature of the ``quantize`` of a method that learns for long."""

    def __call__(
        self,
        network: Network,
        calibration: CalibrationSet,
        policy: Policy,
        config: Config,
        progress: Progress | None = None,
        folder: RunFolder | None = None,
    ) -> QuantizedModel:
        """As ``Quantize``; a stopped run continues from what ``folder``, an existing folder, has kept of it."""


@dataclass(frozen=True)
class Method(Generic[Config]):
    """A method that quantizes a float network without true pictures.

    Attributes:
        name: as the command line takes it.
        summary: one line.
        config: class of its options, a frozen dataclass; see ``srquant.methods.options``.
        quantize: the method itself.
        attention: kinds of layers that it quantizes by default in networks with attention.
        in_folder: the method itself, if it can continue a stopped run; else None.
        granularity: of the grids of weights and activations, unless the user chooses.
    """

    name: str
    summary: str
    config: type[Config]
    quantize: Quantize[Config]
    attention: tuple[LayerKind, ...] = ("linear", "matmul")
    in_folder: QuantizeInFolder[Config] | None = None
    granularity: Granularity = "tensor"


METHODS: dict[str, Method[Any]] = {
    method.name: method
    for method in (
        Method(
            "auto",
            "the best for the bits and the time allowed; ours",
            auto.Auto,
            auto.quantize,
            in_folder=auto.quantize,
            granularity="channel",
        ),
        Method("minmax", "smallest and largest value (Jacob et al. 2018)", minmax.MinMax, minmax.quantize),
        Method("percentile", "1 % and 99 % quantile (FQN, Li et al. 2019)", percentile.Percentile, percentile.quantize),
        Method("mse", "smallest squared error (OMSE, Choukroun et al. 2019)", mse.MSE, mse.quantize),
        Method("ptq4sr", "dual clipping, then pixel-aware (Tu et al. 2023)", ptq4sr.PTQ4SR, ptq4sr.quantize),
        Method("adabm", "bits by picture and layer (Hong and Lee 2024)", AdaBM, adabm.quantize, ("linear",)),
        Method("2dquant", "bounds by DOBI, then DQC (Liu et al. 2024)", two_d_quant.TwoDQuant, two_d_quant.quantize),
        Method(
            "outlier-aware",
            "piecewise linear grids (PLQ), sensitivity-aware finetuning (arXiv 2511.00682)",
            outlier_aware.OutlierAware,
            outlier_aware.quantize,
            ("linear",),
        ),
        Method(
            "gba",
            "bits from gradients, dynamic ranges per channel (DAN) (GBA, CVPR 2026)",
            gba.GBA,
            gba.quantize,
            ("linear",),
        ),
        Method(
            "distill",
            "weights, biases and bounds learn from the float network; ours",
            distill.Distill,
            distill.quantize,
            in_folder=distill.quantize,
            granularity="channel",
        ),
        Method("tails", "clip 3 of 100,000 values at 8 bits, else as mse; ours", tails.Tails, tails.quantize),
    )
}
