"""Exponential moving averages of parameters, with which a network often upscales better than with the last values."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Averages:
    """Moving averages of all trained parameters of a module.

    Args:
        module: the module that is trained.
        decay: weight of the old average in each update; 0 to keep no averages.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self.parameters = learning if decay else {}
        self.values = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Update the averages after an optimizer step."""
        for name, value in self.values.items():
            value.lerp_(self.parameters[name], 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the module's parameters by the averages inside the block; restore them afterwards."""
        own = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.apply()
        try:
            yield
        finally:
            self._set(own)

    def apply(self) -> None:
        """Replace the module's parameters by the averages permanently."""
        self._set(self.values)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Copy the averages from a mapping with the same names."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.parameters[name].copy_(value)
