"""What decides the first bits (AdaBM section 3.1): deviations of layers' inputs, densities of pictures."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from srquant.grids.picture_density import gradient_density
from srquant.models.hooks import watch_inputs
from srquant.models.network import Network


@dataclass
class DensityQuantiles:
    """Quantiles of the gradient densities of a stream of batches: a moving average over batches.

    Args:
        share: 0..0.5, below the lower and above the upper quantile of a batch.
        momentum: weight of what was seen before.
    """

    share: float
    momentum: float
    bounds: Tensor | None = None

    def update(self, density: Tensor) -> None:
        """Take in the densities of one batch, ``N``."""
        seen = density.quantile(torch.tensor([self.share, 1 - self.share]))
        self.bounds = seen if self.bounds is None else self.momentum * self.bounds + (1 - self.momentum) * seen

    def watching(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """The same batches, each taken in before it is passed on."""
        for images in batches:
            self.update(gradient_density(images))
            yield images


@contextmanager
def input_deviations(network: Network, layers: Iterable[str]) -> Iterator[dict[str, list[float]]]:
    """Note the standard deviation of each layer's input, mean over samples, for every batch that goes through."""
    seen: dict[str, list[float]] = {name: [] for name in layers}

    def see(name: str, inputs: tuple[Tensor, ...]) -> None:
        seen[name].append(float(inputs[0].flatten(1).std(1).mean()))

    with watch_inputs({name: network.module.get_submodule(name) for name in seen}, see):
        yield seen


def sensitive_layers(deviations: Tensor, share: float) -> Tensor:
    """First bits of layers: -1 below the ``share`` quantile of their deviations, 1 above ``1 - share``, else 0.

    Args:
        deviations: ``K``.
        share: 0..0.5.
    """
    lower, upper = deviations.quantile(torch.tensor([share, 1 - share], dtype=deviations.dtype))
    first: Tensor = (deviations > upper).float() - (deviations < lower).float()
    return first
