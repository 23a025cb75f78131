"""A float super-resolution network, and the facts that the other packages need about it."""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.devices import divisor
from srquant.errors import DatasetError

M = TypeVar("M", bound=nn.Module)

CUSTOM = "custom"
"""``Facts.architecture`` of wrapped modules; they are given contiguous copies of pictures: some compute in place, or
ask for the order in memory that their trace had."""

Argument = int | float | bool | str | list[int]


@dataclass(frozen=True)
class Facts:
    """Properties of a network besides its weights.

    Layer names are those of ``Network.module.named_modules()``.

    Attributes:
        architecture: registry name, e.g. ``edsr``.
        arguments: keyword arguments of the architecture's constructor; JSON values only.
        scale: upscaling factor.
        value_range: value of white in the module's input and output: 1.0 or 255.0.
        head: names of the first layers; most policies keep them at 8 bit or float.
        tail: names of the upsampler's layers and the last layer.
        features: names of the modules whose outputs are compared in feature distillation.
        smallest: fewest rows and columns of a picture that the module can upscale; smaller pictures are padded first.
        multiple_of: rows and columns must be multiples of this; other pictures are padded first.
        one_by_one: whether the module takes one picture at a time; batches are split.
        unused: names of layers that no picture enters: they never run, though others may read their weights, or they
            compute the same for every picture. They stay float.
        blocks: names of the residual blocks that can be left out to run the network at a smaller depth.
        behind_blocks: name of the layer after the last block, if only this layer reads the block's output; else None.
        tiles_exactly: whether tiles with enough overlap give the untiled result.
    """

    architecture: str
    scale: int
    value_range: float
    head: tuple[str, ...]
    tail: tuple[str, ...]
    features: tuple[str, ...] = ()
    arguments: dict[str, Argument] = field(default_factory=dict)
    tiles_exactly: bool = True
    smallest: int = 1
    multiple_of: int = 1
    one_by_one: bool = False
    unused: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    behind_blocks: str | None = None

    @property
    def ends(self) -> frozenset[str]:
        """Names of head and tail."""
        return frozenset((*self.head, *self.tail))

    def padding(self, size: int) -> int:
        """Rows or columns that a picture with ``size`` of them needs more, so that the module can upscale it."""
        wanted = max(size, self.smallest)
        return -(-wanted // self.multiple_of) * self.multiple_of - size

    def check_crops(self, patch: int) -> None:
        """Check the side of crops that are given to the network as they are.

        Raises:
            DatasetError: the network can't take crops of ``patch`` x ``patch`` pixels.
        """
        missing = self.padding(patch)
        if missing:
            raise DatasetError(
                f"{self.architecture} can't take crops of {patch}x{patch} pixels, only multiples of {self.multiple_of} "
                f"from {self.smallest} on: use --patch {patch + missing}"
            )


class Network(nn.Module):
    """A network that takes and returns pictures in [0, 1], also if its module uses [0, 255]."""

    def __init__(self, module: nn.Module, facts: Facts) -> None:
        super().__init__()
        self.module = module
        self.facts = facts

    def forward(self, images: Tensor) -> Tensor:
        """Upscale.

        Args:
            images: ``N x 3 x H x W`` RGB in [0, 1], float32.

        Returns:
            ``N x 3 x scale*H x scale*W`` RGB around [0, 1], not clipped.
        """
        if self.facts.one_by_one and len(images) > 1:
            return torch.cat([self.forward(image) for image in torch.split(images, 1)])
        if self.facts.value_range == 1.0:
            wrapped = self.facts.architecture == CUSTOM
            upscaled: Tensor = self.module(images.clone(memory_format=torch.contiguous_format) if wrapped else images)
        else:
            upscaled = self.module(images * self.facts.value_range) / divisor(self.facts.value_range, device_of(self))
        return upscaled

    def branch_for(self, image: Tensor) -> "Network":
        """The network that upscales a picture, ``1 x 3 x H x W`` in [0, 1]: itself, unless the picture decides."""
        return self


def of_valid_size(images: Tensor, facts: Facts) -> Tensor:
    """Images ``N x C x H x W``, extended by their edge on the right and below to a size that the network can take."""
    right, below = (facts.padding(size) for size in (images.shape[3], images.shape[2]))
    return F.pad(images, (0, right, 0, below), mode="replicate")


def copy_sharing_tensors(module: M) -> M:
    """A copy of a module whose parameters and buffers are those of the module itself."""
    shared = {id(tensor): tensor for tensor in chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, shared)


def device_of(network: nn.Module) -> torch.device:
    """The device of the weights; the CPU for a network without weights."""
    return next((tensor.device for tensor in chain(network.parameters(), network.buffers())), torch.device("cpu"))


def on_device_of(network: nn.Module, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """The same batches, each moved to the device of the network's weights when it is needed."""
    device = device_of(network)
    return (batch.to(device) for batch in batches)


def bytes_of(tensor: Tensor) -> bytes:
    """The values of a tensor, of any type and on any device, bit for bit."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def modules_of(network: nn.Module, kind: type[M]) -> dict[str, M]:
    """The modules of one type in a module, by name, in module order."""
    return {name: module for name, module in network.named_modules() if isinstance(module, kind)}
