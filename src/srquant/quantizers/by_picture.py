"""Activation quantizers whose grid depends on the present input, or on the whole picture.

Their step is not one constant, so the layers after them compute in float, with integer weights. A quantized file holds
such a quantizer as its kind, its settings and its tensors; ``deploy.frozen.kinds`` lists the kinds.
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
from srquant.models.network import Facts, Network, modules_of
from srquant.quantizers.base import InputQuantizer
from srquant.quantizers.grid_spec import GridSpec
from srquant.quantizers.stored import Fields, Json, StoredTensors


class Pictures:
    """The pictures that go through a network, and measures of their detail, computed when first needed.

    Args:
        images: ``N x 3 x H x W`` in [0, 1].
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images

    @cached_property
    def gradients(self) -> Tensor:
        """``N x 2``, see ``grids.picture_edges.mean_gradients``."""
        return mean_gradients(self.images)

    @cached_property
    def edges(self) -> Tensor:
        """``N``, see ``grids.picture_edges.edge_score``."""
        return edge_score(self.images)


@dataclass
class CurrentPictures:
    """The pictures that go through a network now, None outside of a pass; all its quantizers share one object."""

    pictures: Pictures | None = None


class ConditionalQuantizer(InputQuantizer):
    """Base of these quantizers.

    A subclass has a ``kind``, its name in files, and a constructor whose keyword arguments are what ``settings``
    returns. Everything else that its output depends on is in parameters and buffers, whose shapes depend on the
    settings only: the constructor must also run on the meta device.

    Args:
        bits: 2..8, the nominal bits; the most where bits depend on the picture.

    Attributes:
        current: the pictures that go through the network now, for quantizers that need them.
    """

    kind: ClassVar[str]
    static = False
    needs_pictures = False
    """Whether it needs the pictures, not only its input."""

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.current = CurrentPictures()

    @property
    def candidates(self) -> tuple[int, ...]:
        """The bits among which it chooses for each picture."""
        return (self.bits,)

    @property
    def code_source(self) -> "ConditionalQuantizer":
        """The module whose method ``codes`` gives the codes of its input: itself."""
        return self

    @property
    def channels(self) -> int | None:
        """Number of channels that its input must have; None for any number."""
        return None

    def settings(self) -> dict[str, Json]:
        """Keyword arguments of the constructor; JSON values."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Values ``N x C x H x W`` (or ``N x ... x C``) to grid points, same shape."""
        raise NotImplementedError

    def codes(self, x: Tensor) -> Tensor:
        """The grid points as integers from -255 to 255, same shape; used to count codes."""
        raise NotImplementedError

    def chosen_bits(self, x: Tensor) -> Tensor:
        """Bits for each sample of the input, ``N`` floats."""
        return torch.full((len(x),), float(self.bits))

    def spec(self) -> "ConditionalSpec":
        """A copy without learnable parameters, on the CPU."""
        return ConditionalSpec(max(self.candidates), copy.deepcopy(self).cpu().eval().requires_grad_(False))


@dataclass(frozen=True)
class ConditionalSpec(GridSpec):
    """A quantizer that is kept as a module: engines compute its grid points in float.

    Attributes:
        quantizer: on the CPU, without learnable parameters.
    """

    quantizer: ConditionalQuantizer
    static = False

    @property
    def kind(self) -> str:
        """Kind of the quantizer."""
        return self.quantizer.kind

    def settings(self) -> dict[str, Json]:
        """``bits``, and ``settings`` of the quantizer's constructor."""
        return {"bits": self.bits, "settings": self.quantizer.settings()}

    def tensors(self) -> dict[str, Tensor]:
        """The quantizer's state, names with the prefix ``quantizer.``."""
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
    """A network that gives its quantizers access to the pictures that go through it.

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
    return modules_of(module, ConditionalQuantizer)


def with_picture_access(network: Network) -> Network:
    """The network as a ``ConditionalNetwork`` if one of its quantizers needs the pictures, else unchanged."""
    needed = any(quantizer.needs_pictures for quantizer in conditional_quantizers(network.module).values())
    return ConditionalNetwork(network.module, network.facts) if needed else network
