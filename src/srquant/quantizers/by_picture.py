"""Activation quantizers whose grid depends on what they see: the input at hand, or the whole picture.

No integer convolution has one scale for them, so layers behind them compute in float, on integer weights. A quantized
file holds such a quantizer by its kind, its settings and its tensors; ``deploy.file.quantizer_kinds`` lists the kinds.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.grids.picture_edges import edge_score, mean_gradients
from srquant.models.network import Facts, Network

Setting = bool | int | float | str | list[int]


class Scene:
    """What quantizers may know of the pictures in work, computed when first asked for.

    Args:
        images: ``N x 3 x H x W`` in [0, 1].
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    @cached_property
    def gradients(self) -> Tensor:
        """``N x 2``, see ``complexity.mean_gradients``."""
        return mean_gradients(self.images)

    @cached_property
    def edges(self) -> Tensor:
        """``N``, see ``complexity.edge_score``."""
        return edge_score(self.images)


@dataclass
class Stage:
    """The pictures in work; one object that all quantizers of a network see."""

    scene: Scene | None = None


class ConditionalQuantizer(nn.Module):
    """Base of these quantizers.

    A subclass has a ``kind``, the name by which files know it, and a constructor whose keyword arguments are what
    ``settings`` returns. All else that decides its output is in parameters and buffers, whose shapes follow from the
    settings: the constructor also runs on the meta device.

    Args:
        bits: 2..8, what the quantizer is said to have; the most where bits depend on the picture.

    Attributes:
        stage: the pictures in work, for quantizers that look at them.
    """

    kind: str
    sees_pictures = False
    """Whether it needs to know the pictures, not only its input."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.stage = Stage()

    @property
    def candidates(self) -> tuple[int, ...]:
        """The bits among which it chooses for each picture."""
        return (self.bits,)

    @property
    def channels(self) -> int | None:
        """Channels that its input must have; None for any."""
        return None

    def settings(self) -> dict[str, Setting]:
        """Keyword arguments of the constructor; JSON values."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Values ``N x C x H x W`` (or ``N x ... x C``) to grid points, same shape."""
        raise NotImplementedError

    def codes(self, x: Tensor) -> Tensor:
        """Integers that the grid points stand for, from -255 to 255, same shape; for counting."""
        raise NotImplementedError

    def chosen_bits(self, x: Tensor) -> Tensor:
        """Bits for each sample of the input, ``N`` floats."""
        return torch.full((len(x),), float(self.bits))

    def padded(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Grid points with zeros around them."""
        vertical, horizontal = padding
        return F.pad(self(x), (horizontal, horizontal, vertical, vertical))

    def relative_step(self) -> None:
        """Channels have no fixed steps that could go into weights."""


class ConditionalNetwork(Network):
    """A network that shows its pictures to its quantizers.

    Args:
        module: with ``ConditionalQuantizer`` modules somewhere inside.
        facts: of the network.
    """

    def __init__(self, module: nn.Module, facts: Facts) -> None:
        super().__init__(module, facts)
        self.stage = Stage()
        for quantizer in conditional_quantizers(module).values():
            quantizer.stage = self.stage

    def forward(self, images: Tensor) -> Tensor:
        """Upscale, as ``Network``."""
        self.stage.scene = Scene(images)
        try:
            return super().forward(images)
        finally:
            self.stage.scene = None


def conditional_quantizers(module: nn.Module) -> dict[str, ConditionalQuantizer]:
    """All conditional quantizers inside a module by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, ConditionalQuantizer)}


def staged(network: Network) -> Network:
    """The network, made to show its pictures where one of its quantizers looks at them."""
    looks = any(quantizer.sees_pictures for quantizer in conditional_quantizers(network.module).values())
    return ConditionalNetwork(network.module, network.facts) if looks else network
