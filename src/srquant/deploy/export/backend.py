"""The operations that an engine's graph format must have, so that a network can be exported to it."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srquant.deploy.export.nodes import IntegerConv2d, IntegerLinear
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.matmul import OperandGrid
from srquant.models.blocks.conv_geometry import ConvGeometry

Floats = NDArray[np.float32]
Arithmetic = Literal["add", "subtract", "multiply", "divide", "modulus", "minimum", "maximum"]
Activation = Literal["relu", "sigmoid", "tanh", "gelu"]
Extreme = Literal["smallest", "largest"]
Interpolation = Literal["nearest", "bilinear"]

V = TypeVar("V")


class Backend(Protocol[V]):
    """Builds a graph of values ``V``; pictures and features are ``N x C x H x W`` float32.

    ``quantize`` may represent integers in any way that ``dequantize`` and the integer layers understand.
    ``name`` is the layer's name, by which the engine reports its precision.
    """

    def constant(self, values: NDArray[Any]) -> V:
        """Floats or int64."""

    def arithmetic(self, operation: Arithmetic, a: V, b: V) -> V:
        """Elementwise with broadcasting; integers divide to integers, ``minimum`` and ``maximum`` are of two values."""

    def activation(self, function: Activation, x: V) -> V:
        """Elementwise."""

    def prelu(self, x: V, slopes: Floats) -> V:
        """``x`` where positive, else ``slope * x``; one slope or one per channel."""

    def conv(self, x: V, weight: Floats, bias: Floats, geometry: ConvGeometry, name: str) -> V:
        """Float convolution with zero padding."""

    def linear(self, x: V, weight: Floats, bias: Floats, name: str) -> V:
        """``x @ weight.T + bias``."""

    def quantize(self, x: V, grid: FrozenGrid) -> V:
        """Values to integers ``k - z``."""

    def points(self, x: V, grid: FrozenGrid) -> V:
        """Values to the values of grid points, all in float."""

    def pieces(self, x: V, edges: Floats, levels: Sequence[int]) -> V:
        """Values to the nearest point of their region: uniform grids of ``levels`` points from edge to edge."""

    def quantize_channels(self, x: V, grid: FrozenGrid, lower: Floats, step: Floats) -> V:
        """Quantize ``(x - lower) / step``; lower and step are per channel, shaped to broadcast."""

    def pad(self, x: V, padding: tuple[int, int]) -> V:
        """Zeros around: rows above and below, columns left and right."""

    def dequantize(self, integers: V, step: float, offset: float) -> V:
        """Integers to values ``step * integer + offset``."""

    def apart(self, integers: V) -> V:
        """The same integers; keeps the engine from merging their quantization with the layer before."""

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

    def part(self, x: V, axis: int, start: int, stop: int | V) -> V:
        """From ``start`` to before ``stop`` along an axis."""

    def extent(self, x: V, axis: int) -> V:
        """Size along an axis, a vector of one integer."""

    def positions(self, length: V) -> V:
        """Integers from 0 to before ``length``, a vector of one integer."""

    def to_float(self, integers: V) -> V:
        """The same numbers as float32."""

    def reshape(self, x: V, shape: Sequence[int | V]) -> V:
        """To sizes that are numbers (one may be -1) or extents."""

    def transpose(self, x: V, order: Sequence[int]) -> V:
        """Axis ``i`` of the result is axis ``order[i]``."""

    def gather(self, x: V, indices: V, axis: int) -> V:
        """The entries at ``indices`` (a vector) along an axis."""

    def total(self, x: V, axis: int) -> V:
        """Sum along an axis, kept with size 1."""

    def extreme(self, x: V, which: Extreme, axes: Sequence[int]) -> V:
        """Smallest or largest value along axes, kept with size 1."""

    def softmax(self, x: V) -> V:
        """Over the last axis."""

    def layer_norm(self, x: V, weight: Floats, bias: Floats, epsilon: float) -> V:
        """Over the last axis."""

    def matmul(self, a: V, b: V, name: str) -> V:
        """Float product of the last two axes."""

    def quantize_operand(self, x: V, operand: OperandGrid) -> V:
        """Values to the integers of a matrix product's operand."""

    def dequantize_operand(self, integers: V, step: float, offset: float) -> V:
        """Integers of an operand to values ``step * integer + offset``."""

    def integer_matmul(self, left: V, right: V, scale: float, name: str) -> V:
        """``scale`` times the product of two integer operands."""


def floats(values: Any) -> Floats:
    """A tensor, number or list as an array."""
    tensor = torch.as_tensor(values, dtype=torch.float32)
    return np.ascontiguousarray(tensor.detach().numpy())


def per_channel(values: Tensor) -> Floats:
    """One number per channel, shaped to broadcast over features."""
    return floats(values).reshape(1, -1, 1, 1)
