"""The operations that an engine's graph format must offer for a network to be exported to it."""

from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.deploy.frozen import FrozenGrid
from srquant.deploy.lowered import IntegerConv2d, IntegerLinear, Window

Floats = NDArray[np.float32]
Arithmetic = Literal["add", "subtract", "multiply", "divide"]
Activation = Literal["relu", "sigmoid", "tanh"]
Interpolation = Literal["nearest", "bilinear"]

V = TypeVar("V")


class Backend(Protocol[V]):
    """Builds a graph of values ``V``; pictures and features are ``N x C x H x W`` float32.

    ``quantize`` may represent integers in any way that ``dequantize`` and the integer layers understand.
    ``name`` is the layer's name, by which the engine reports its precision.
    """

    def constant(self, values: Floats) -> V:
        """A constant."""

    def arithmetic(self, operation: Arithmetic, a: V, b: V) -> V:
        """Elementwise with broadcasting."""

    def activation(self, function: Activation, x: V) -> V:
        """Elementwise."""

    def prelu(self, x: V, slopes: Floats) -> V:
        """``x`` where positive, else ``slope * x``; one slope or one per channel."""

    def conv(self, x: V, weight: Floats, bias: Floats, window: Window, name: str) -> V:
        """Float convolution with zero padding."""

    def linear(self, x: V, weight: Floats, bias: Floats, name: str) -> V:
        """``x @ weight.T + bias``."""

    def quantize(self, x: V, grid: FrozenGrid) -> V:
        """Values to integers ``k - z``."""

    def quantize_channels(self, x: V, grid: FrozenGrid, lower: Floats, step: Floats) -> V:
        """Quantize ``(x - lower) / step``; lower and step are per channel, shaped to broadcast."""

    def pad(self, x: V, padding: tuple[int, int]) -> V:
        """Zeros around: rows above and below, columns left and right."""

    def dequantize(self, integers: V, step: float, offset: float) -> V:
        """Integers to values ``step * integer + offset``."""

    def integer_conv(self, integers: V, layer: IntegerConv2d, name: str) -> V:
        """Integers to values."""

    def integer_linear(self, integers: V, layer: IntegerLinear, name: str) -> V:
        """Integers to values."""

    def pixel_shuffle(self, x: V, factor: int) -> V:
        """``C*f*f x H x W`` to ``C x f*H x f*W``, channel ``c*f*f + i*f + j`` to pixel ``(i, j)``."""

    def block_shuffle(self, x: V, factor: int) -> V:
        """The same from channel ``(i*f + j)*C + c``."""

    def max_pool(self, x: V, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> V:
        """Maximum over a window."""

    def mean(self, x: V) -> V:
        """Mean over height and width, kept as 1 x 1."""

    def resize(self, x: V, scale: float, mode: Interpolation) -> V:
        """Scale height and width, half-pixel centres."""

    def resize_like(self, x: V, other: V, mode: Interpolation) -> V:
        """Give ``x`` the height and width of ``other``."""

    def concatenate(self, values: list[V]) -> V:
        """Along channels."""

    def channels(self, x: V, start: int, stop: int) -> V:
        """Channels ``start`` to ``stop``."""


def floats(values: Any) -> Floats:
    """A tensor, number or list as an array."""
    tensor = torch.as_tensor(values, dtype=torch.float32)
    return np.ascontiguousarray(tensor.detach().numpy())


def per_channel(values: Tensor) -> Floats:
    """One number per channel, shaped to broadcast over features."""
    return floats(values).reshape(1, -1, 1, 1)
