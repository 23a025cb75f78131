"""Record the outputs of the modules whose features a distillation loss compares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from srquant.models.hooks import kept_outputs
from srquant.models.network import Network


@dataclass
class Features:
    """Outputs of the modules since the last ``take``, in call order."""

    outputs: list[Tensor]

    def take(self) -> list[Tensor]:
        """Return the outputs and remove them."""
        outputs = self.outputs.copy()
        self.outputs.clear()
        return outputs


@contextmanager
def features_of(network: Network) -> Iterator[Features]:
    """Collect the outputs of ``network.facts.features`` while the context is open."""
    with kept_outputs(*map(network.module.get_submodule, network.facts.features)) as outputs:
        yield Features(outputs)
