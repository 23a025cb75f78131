"""Pictures with values that are not finite: stop, and name the layer that made them."""

import numpy as np
import torch
from torch import Tensor, nn

from srquant.errors import EngineError
from srquant.models.network import Network, device_of
from srquant.upscale.engines.protocol import Engine, Images


def check_finite(engine: Engine, images: Images, upscaled: Images) -> None:
    """Raise an ``EngineError`` if a value isn't finite.

    Args:
        engine: that upscaled.
        images: what it was given.
        upscaled: what it gave.
    """
    if np.isfinite(upscaled).all():
        return
    layer = None if engine.network is None else first_not_finite(engine.network, images)
    what = "the network" if layer is None else f"layer {layer!r} of the network"
    raise EngineError(
        f"{what} gives values that are not finite: its weights are damaged, or too large; use another checkpoint"
    )


def first_not_finite(network: Network, images: Images) -> str | None:
    """Name of the first layer whose output has values that are not finite; None if there is none.

    Args:
        network: float or frozen; runs once in PyTorch.
        images: ``N x 3 x H x W`` in [0, 1], float32.
    """
    found: list[str] = []

    def noting(name: str) -> torch.utils.hooks.RemovableHandle:
        def note(module: nn.Module, given: object, output: object) -> None:
            if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
                found.append(name)

        return network.module.get_submodule(name).register_forward_hook(note)

    handles = [noting(name) for name, module in network.module.named_modules() if not list(module.children())]
    try:
        with torch.inference_mode():
            network(torch.from_numpy(images).to(device_of(network)))
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None
