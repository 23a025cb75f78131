"""Activation quantizers whose grid depends on what they see: the input at hand, or the whole picture.

No integer convolution has one scale for them, so layers behind them compute in float, on integer weights. A quantized
file holds such a quantizer by its kind, its settings and its tensors; ``deploy.frozen.kinds`` lists the kinds.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from srquant.errors import QuantizedFileError
from srquant.grids.picture_edges import edge_score, mean_gradients
from srquant.models.network import Facts, Network
from srquant.quantizers.base import InputQuantizer
from srquant.quantizers.grid_spec import GridSpec
from srquant.quantizers.stored import Fields, Json, StoredTensors


class Pictures:
    """The pictures that go through a network, and what quantizers ask of them, computed when first asked for.

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
class CurrentPictures:
    """The pictures that go through a network now; one object that all its quantizers share."""

    pictures: Pictures | None = None


class ConditionalQuantizer(InputQuantizer):
    """Base of these quantizers.

    A subclass has a ``kind``, the name by which files know it, and a constructor whose keyword arguments are what
    ``settings`` returns. All else that decides its output is in parameters and buffers, whose shapes follow from the
    settings: the constructor also runs on the meta device.

    Args:
        bits: 2..8, what the quantizer is said to have; the most where bits depend on the picture.

    Attributes:
        current: the pictures in work, for quantizers that look at them.
    """

    kind: ClassVar[str]
    static = False
    needs_pictures = False
    """Whether it needs to know the pictures, not only its input."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.current = CurrentPictures()

    @property
    def candidates(self) -> tuple[int, ...]:
        """The bits among which it chooses for each picture."""
        return (self.bits,)

    @property
    def code_source(self) -> "ConditionalQuantizer":
        """What tells the codes of its input: itself."""
        return self

    @property
    def channels(self) -> int | None:
        """Channels that its input must have; None for any."""
        return None

    def settings(self) -> dict[str, Json]:
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

    def spec(self) -> "ConditionalSpec":
        """A copy with nothing to learn, on the CPU."""
        return ConditionalSpec(max(self.candidates), copy.deepcopy(self).cpu().eval().requires_grad_(False))


@dataclass(frozen=True)
class ConditionalSpec(GridSpec):
    """A quantizer that stays a quantizer: engines compute its points in float.

    Attributes:
        quantizer: on the CPU, nothing to learn.
    """

    quantizer: ConditionalQuantizer
    static = False

    @property
    def kind(self) -> str:
        """That of the quantizer."""
        return self.quantizer.kind

    def settings(self) -> dict[str, Json]:
        """``bits``, and ``settings`` of the quantizer's constructor."""
        return {"bits": self.bits, "settings": self.quantizer.settings()}

    def tensors(self) -> dict[str, Tensor]:
        """The quantizer's state behind ``quantizer.``."""
        return {f"quantizer.{key}": value for key, value in self.quantizer.state_dict().items()}

    @classmethod
    def reader(
        cls, make: Callable[..., ConditionalQuantizer]
    ) -> Callable[[Fields, StoredTensors, int | None], "ConditionalSpec"]:
        """The function that reads quantizers of one class from a file."""

        def read(fields: Fields, tensors: StoredTensors, channels: int | None) -> ConditionalSpec:
            bits, settings = fields.bits("bits"), fields.take("settings", dict)
            quantizer = _made(make, settings, fields)
            if max(quantizer.candidates) != bits or (
                channels is not None and quantizer.channels not in (None, channels)
            ):
                raise QuantizedFileError(f"{fields.where}: the quantizer {settings} doesn't fit its layer")
            stored, own = tensors.inside("quantizer."), quantizer.state_dict()
            found = {key: stored.take(key, value.dtype, tuple(value.shape)) for key, value in own.items()}
            quantizer.load_state_dict(found, assign=True)
            return quantizer.spec()

        return read


def _made(make: Callable[..., ConditionalQuantizer], settings: dict[str, Json], fields: Fields) -> ConditionalQuantizer:
    """A quantizer without values, with the settings that a file gives."""
    try:
        with torch.device("meta"):
            return make(**settings)
    except (TypeError, ValueError, KeyError) as error:
        raise fields.wrong("settings", settings, f"settings of such a quantizer ({error})") from error


class ConditionalNetwork(Network):
    """A network that shows its pictures to its quantizers.

    Args:
        module: with ``ConditionalQuantizer`` modules somewhere inside.
        facts: of the network.
    """

    def __init__(self, module: nn.Module, facts: Facts) -> None:
        super().__init__(module, facts)
        self.current = CurrentPictures()
        for quantizer in conditional_quantizers(module).values():
            quantizer.current = self.current

    def forward(self, images: Tensor) -> Tensor:
        """Upscale, as ``Network``."""
        self.current.pictures = Pictures(images)
        try:
            return super().forward(images)
        finally:
            self.current.pictures = None


def conditional_quantizers(module: nn.Module) -> dict[str, ConditionalQuantizer]:
    """All conditional quantizers inside a module by name."""
    return {name: part for name, part in module.named_modules() if isinstance(part, ConditionalQuantizer)}


def with_picture_access(network: Network) -> Network:
    """The network, made to show its pictures where one of its quantizers looks at them."""
    looks = any(quantizer.needs_pictures for quantizer in conditional_quantizers(network.module).values())
    return ConditionalNetwork(network.module, network.facts) if looks else network
