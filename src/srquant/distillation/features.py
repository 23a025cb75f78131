"""Record the outputs of the modules whose features are compared."""

from typing import Any

from torch import Tensor, nn

from srquant.models.network import Network


class Features:
    """Collects, for each forward pass, the outputs of ``network.facts.features`` in call order.

    Use as a context manager; ``take`` returns and forgets what the last pass produced.
    """

    def __init__(self, network: Network) -> None:
        self.modules = [network.module.get_submodule(name) for name in network.facts.features]
        self.outputs: list[Tensor] = []

    def __enter__(self) -> "Features":
        self.handles = [module.register_forward_hook(self._keep) for module in self.modules]
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def take(self) -> list[Tensor]:
        """Features of the last forward pass."""
        outputs, self.outputs = self.outputs, []
        return outputs

    def _keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.outputs.append(output)
