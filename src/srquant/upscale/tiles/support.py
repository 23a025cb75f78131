"""What a network's outputs depend on, and the memory it needs: the facts that tiling rests on.

One pass over a small picture shows every operation with its shapes, so any module works, whatever its code looks like.
"""

import math
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from srquant.models.network import Network

PROBE = 32
"""Side of the small picture."""

INEXACT_OVERLAP = 32
"""Overlap for networks that look at the whole picture, where no overlap is enough."""

ENGINE_COPIES = 1.5
"""Memory that engines take, in units of what the hungriest operation reads and writes; measured 0.8 to 1.2, EDSR."""

GLOBAL = (
    *("adaptive", "amax", "bmm", "cumsum", "fft", "group_norm", "mean", "roll", "scaled_dot", "softmax", "std", "var"),
)
"""Parts of the names of operations by which one output pixel may depend on all others."""


@dataclass(frozen=True)
class Support:
    """What tiles of a network must respect, in pixels of the input.

    Attributes:
        radius: an output pixel depends on inputs at most this far away along each axis; an upper bound.
        alignment: tiles must start at multiples of this.
        bytes_per_pixel: estimate of the memory that a tile takes while it runs, per input pixel.
        exact: whether tiles that overlap by ``radius`` give the untiled result.
    """

    radius: int
    alignment: int
    bytes_per_pixel: int
    exact: bool


def measure_support(network: Network) -> Support:
    """Find out what tiles of ``network`` must respect, by one forward pass of 32 x 32 pixels on its device."""
    image = torch.zeros(1, 3, PROBE, PROBE, device=device_of(network))
    with torch.no_grad(), Trace(image) as trace:
        network(image)
    bytes_per_pixel = math.ceil(ENGINE_COPIES * trace.largest / PROBE**2)
    if network.facts.tiles_exactly and not trace.mixes_all:
        return Support(math.ceil(trace.reach), trace.coarsest, bytes_per_pixel, exact=True)
    return Support(INEXACT_OVERLAP, INEXACT_OVERLAP, bytes_per_pixel, exact=False)


def device_of(network: Network) -> torch.device:
    """Where the weights are; the CPU for a network without any."""
    return next((t.device for t in network.state_dict().values()), torch.device("cpu"))


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up how far each operation looks: a bound for every path through the network.

    Attributes:
        reach: the sum so far, in input pixels.
        coarsest: largest distance between neighbours in any feature map, in input pixels.
        largest: bytes that the hungriest operation reads and writes.
        mixes_all: whether an operation mixed all pixels.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reach = 0.0
        self.coarsest = 1
        self.largest = 0
        self.mixes_all = False
        self.computed: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary({image: True})

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and note its reach if it works on what was computed from the picture."""
        out = func(*args, **(kwargs or {}))
        sources = [t for t in tensors(args) if t in self.computed]
        if sources:
            name = func.overloadpacket.__name__
            self.mixes_all |= any(word in name for word in GLOBAL)
            results = tensors([out])
            self.largest = max(self.largest, sum(t.nbytes for t in sources + results))
            for result in results:
                self.computed[result] = True
                if is_map(sources[0]) and is_map(result):
                    self.note(name, sources[0], result, args)
        return out

    def note(self, name: str, source: Tensor, result: Tensor, args: Sequence[Any]) -> None:
        """Add one operation from feature map to feature map."""
        before, after = spacing(source), spacing(result)
        self.reach += reach(name, before, after, args) + max(0.0, before - after)
        self.coarsest = max(self.coarsest, round(after))


def tensors(values: Sequence[Any]) -> list[Tensor]:
    """The tensors among values and items of lists and tuples of them."""
    flat = [item for value in values for item in (value if isinstance(value, (list, tuple)) else [value])]
    return [item for item in flat if isinstance(item, Tensor)]


def is_map(tensor: Tensor) -> bool:
    """Whether a tensor is ``N x C x H x W`` floats."""
    return tensor.ndim == 4 and tensor.is_floating_point()


def spacing(feature_map: Tensor) -> float:
    """Distance between neighbours in input pixels: an integer or one over an integer."""
    ratio = PROBE / feature_map.shape[-1]
    return float(round(ratio)) if ratio >= 1 else 1 / round(1 / ratio)


def reach(name: str, before: float, after: float, args: Sequence[Any]) -> float:
    """How far one operation looks, in input pixels, from ``before`` to ``after`` pixels between neighbours."""
    if "convolution" in name:
        _, weight, _, _, padding, dilation, transposed, *_ = args
        return max(map(kernel_reach, weight.shape[2:], padding, dilation)) * (after if transposed else before)
    if "pool" in name:
        return float(max(args[1]) - 1) * before
    if "pad" in name:
        return float(max(map(abs, args[1]))) * before
    if "bicubic" in name:
        return 2 * before
    return before if "linear" in name and "upsample" in name else 0.0


def kernel_reach(size: int, padding: int, dilation: int) -> int:
    """Pixels that a kernel looks away from the one its output stands for."""
    extent = dilation * (size - 1)
    return max(padding, extent - padding)
