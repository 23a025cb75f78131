"""One file per method; ``METHODS`` lists them."""

from dataclasses import dataclass
from typing import Protocol

from srquant.data.calibration import CalibrationSet
from srquant.methods import minmax, mse, percentile, tails
from srquant.models.network import Network
from srquant.quant.model import QuantizedModel
from srquant.quant.policy import Policy
from srquant.training.finetune import Finetune, Progress


class Quantize(Protocol):
    """The one function of a method."""

    def __call__(
        self,
        network: Network,
        calibration: CalibrationSet,
        policy: Policy,
        finetune: Finetune | None = None,
        progress: Progress | None = None,
    ) -> QuantizedModel:
        """Quantize a network.

        Args:
            network: float; left unchanged.
            calibration: low-resolution crops, no ground truth.
            policy: which layers, and their bits.
            finetune: how to learn the bounds afterwards; None leaves them as found.
            progress: told after every step of finetuning.

        Raises:
            PolicyError: the policy doesn't fit the network.
            DatasetError: the calibration set can't be used.
        """


@dataclass(frozen=True)
class Method:
    """A way to quantize.

    Attributes:
        name: as the command line takes it.
        summary: one line.
        quantize: runs it.
    """

    name: str
    summary: str
    quantize: Quantize


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("minmax", "smallest and largest value (Jacob et al. 2018)", minmax.quantize),
        Method("percentile", "1 % and 99 % quantile (FQN, Li et al. 2019)", percentile.quantize),
        Method("mse", "smallest squared error (OMSE, Choukroun et al. 2019)", mse.quantize),
        Method("tails", "clip 3 values in 100,000 at 8 bits, smallest squared error below; ours", tails.quantize),
    )
}
