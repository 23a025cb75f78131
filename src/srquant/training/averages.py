"""Exponential moving averages of parameters, which often upscale better than the last values."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Averages:
    """Averages of all parameters of a module that learn.

    Args:
        module: what is trained.
        decay: weight of the past; 0 to keep no averages.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        learning = {name: value for name, value in module.named_parameters() if value.requires_grad}
        self.parameters = learning if decay else {}
        self.values = {name: value.detach().clone() for name, value in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters after a step."""
        for name, value in self.values.items():
            value.lerp_(self.parameters[name], 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averages inside the block, and its own values again behind it."""
        own = {name: value.detach().clone() for name, value in self.parameters.items()}
        self.apply()
        try:
            yield
        finally:
            self._set(own)

    def apply(self) -> None:
        """Give the module the averages for good."""
        self._set(self.values)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take over averages of the same names."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @torch.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            self.parameters[name].copy_(value)
