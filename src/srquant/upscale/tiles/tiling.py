"""Measure how a network can be tiled: receptive field, alignment and memory.

One forward pass of a small picture records every operation with its shapes, so this works for any module. The receptive
fields of deep networks, and those of wrapped modules, whose operations may be unknown, are measured as well.
"""

import math
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from srquant.models.network import CUSTOM, Network, device_of
from srquant.upscale.tiles.measured_overlap import FARTHEST, SAME, differences_from_cut, overlap_of

PROBE = 32
"""Side of the small picture in pixels."""

INEXACT_OVERLAP = 32
"""Overlap in pixels for networks whose receptive field is the whole picture; their tiles are not exact."""

ENGINE_COPIES = 1.5
"""Memory of an engine divided by the bytes that the largest operation reads and writes; measured: 0.8 to 1.2 (EDSR)."""

FAR = 64
"""Larger overlaps than this many pixels cost so much that it is measured how much of them matters."""

GLOBAL = (
    *("adaptive", "amax", "bmm", "cumsum", "fft", "group_norm", "mean", "roll", "scaled_dot", "softmax", "std", "var"),
)
"""Parts of the names of operations that may make one output pixel depend on all input pixels."""


@dataclass(frozen=True)
class Tiling:
    """How a network can be tiled, in input pixels.

    Attributes:
        overlap: pixels by which a tile extends beyond its contribution; if ``exact``, an upper bound of the radius of
            the receptive field along each axis.
        alignment: tiles must start at multiples of this.
        bytes_per_pixel: estimate of the memory that a tile needs while it runs, per input pixel.
        exact: whether tiles with this overlap give the untiled result.
        largest: rows and columns that the engine takes at a time, more than two overlaps and two alignments less two;
            None for any number.
    """

    overlap: int
    alignment: int
    bytes_per_pixel: int
    exact: bool
    largest: int | None = None

    def describe(self) -> str:
        """One line: how far tiles overlap, and whether they change the result."""
        if self.largest is not None:
            return (
                f"the model takes pictures of at most {self.largest}x{self.largest} pixels; larger ones are cut into "
                f"tiles that overlap by {self.overlap} pixels, which changes the result slightly"
            )
        if self.exact:
            return f"tiles overlap by {self.overlap} pixels and give the untiled result"
        return (
            f"tiles overlap by {self.overlap} pixels; the network sees farther, so with tiles (--tile) the result "
            "differs slightly"
        )


def measure_tiling(network: Network) -> Tiling:
    """Measure how ``network`` can be tiled, by forward passes of small pictures on its device."""
    facts = network.facts
    image = torch.zeros(1, 3, *[PROBE + facts.padding(PROBE)] * 2, device=device_of(network))
    with torch.no_grad(), Trace(image) as trace:
        network(image)
    bytes_per_pixel = math.ceil(ENGINE_COPIES * trace.largest / image[0, 0].numel())
    alignment = max(trace.coarsest, facts.multiple_of)
    overlap, exact = (None, False)
    if facts.tiles_exactly and not trace.mixes_all:
        overlap, exact = measured(network, math.ceil(trace.reach), alignment)
    if overlap is None:
        return Tiling(INEXACT_OVERLAP, math.lcm(INEXACT_OVERLAP, alignment), bytes_per_pixel, exact=False)
    return Tiling(overlap, alignment, bytes_per_pixel, exact)


def measured(network: Network, reach: int, alignment: int) -> tuple[int | None, bool]:
    """The overlap that tiles need, and whether they are exact with it.

    Args:
        network: without operations that are known to look at the whole picture.
        reach: upper bound of the radius of its receptive field, if all of its operations are known.
        alignment: tiles start at multiples of it.

    Returns:
        None and False if the result depends on pixels farther away than ``reach``.
    """
    if reach <= FAR and network.facts.architecture != CUSTOM:
        return reach, True
    differences = differences_from_cut(network, network.facts, alignment, device_of(network))
    needed = overlap_of(differences)
    if reach <= FARTHEST and bool((differences[reach:] > SAME).any()):
        return None, False
    return (reach, True) if reach <= FAR or needed >= min(reach, FARTHEST) else (needed, False)


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the kernel radii of all operations: an upper bound of the overlap of the receptive field.

    Attributes:
        reach: the sum so far, in input pixels.
        coarsest: largest distance between neighbouring pixels of any feature map, in input pixels.
        largest: most bytes that one operation reads and writes.
        mixes_all: whether an operation may have made output pixels depend on all input pixels.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reach = 0.0
        self.coarsest = 1
        self.largest = 0
        self.side = image.shape[-1]
        self.mixes_all = False
        self.computed: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary({image: True})

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation, and record it if one of its inputs was computed from the picture."""
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
                    self.record(name, sources[0], result, args)
        return out

    def record(self, name: str, source: Tensor, result: Tensor, args: Sequence[Any]) -> None:
        """Add the reach of one operation from feature map to feature map."""
        before, after = spacing(source, self.side), spacing(result, self.side)
        self.reach += reach(name, before, after, args) + max(0.0, before - after)
        self.coarsest = max(self.coarsest, round(after))


def tensors(values: Sequence[Any]) -> list[Tensor]:
    """The tensors among the values, and among the items of values that are lists or tuples."""
    flat = [item for value in values for item in (value if isinstance(value, (list, tuple)) else [value])]
    return [item for item in flat if isinstance(item, Tensor)]


def is_map(tensor: Tensor) -> bool:
    """Whether a tensor is a feature map: ``N x C x H x W`` of floats."""
    return tensor.ndim == 4 and tensor.is_floating_point()


def spacing(feature_map: Tensor, side: int) -> float:
    """Distance between neighbouring pixels, in pixels of an input with this side: an integer, or one divided by one."""
    ratio = side / feature_map.shape[-1]
    return float(round(ratio)) if ratio >= 1 else 1 / round(1 / ratio)


def reach(name: str, before: float, after: float, args: Sequence[Any]) -> float:
    """Kernel overlap of one operation in input pixels.

    Args:
        name: of the operation.
        before: ``spacing`` of its input.
        after: ``spacing`` of its output.
        args: of the operation.
    """
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
    """Largest distance in pixels between an output pixel's position and a pixel that the kernel reads for it."""
    extent = dilation * (size - 1)
    return max(padding, extent - padding)
