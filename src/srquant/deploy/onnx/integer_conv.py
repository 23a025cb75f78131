"""Integer convolutions whose results keep all of their bits, in forms that ONNX Runtime computes fast.

Its convolution of bytes gives bytes, and its ``ConvInteger`` is slower than a float convolution. Products of matrices
are fast: of each pixel's neighbourhood with the weights, or, with few output channels, of each pixel with the weights
of all places in the kernel, which are added afterwards.
"""

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray

from srquant.deploy.export.convolve_to_codes import MOST_UNITS
from srquant.deploy.onnx.channels_last import channels_first, channels_last
from srquant.deploy.onnx.nodes import Value, constant, make, number
from srquant.models.blocks.conv_geometry import ConvGeometry

UNSIGNED = 128
"""Added to signed weights where processors saturate sums of products of unsigned and signed bytes."""

INT32_BYTES = 4

END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Conv:
    """``scale * (conv(codes - zero_point, weight) + units) + rest``.

    Attributes:
        codes: ``N x C_in x H x W``, uint8.
        zero_point: of the codes, 0-d.
        weight: int8 ``C_out x C_in/groups x kH x kW``.
        scale: float32 ``C_out``.
        units: int32 ``C_out``.
        rest: float32 ``C_out``, zero where a bias is whole units.
        geometry: of the kernel.
    """

    codes: Value
    zero_point: NDArray[np.uint8]
    weight: NDArray[np.int8]
    scale: NDArray[np.float32]
    units: NDArray[np.int32]
    rest: NDArray[np.float32]
    geometry: ConvGeometry

    @property
    def kernel(self) -> tuple[int, ...]:
        """Height and width."""
        return self.weight.shape[2:]


def split_bias(bias: NDArray[np.float32], scale: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """A bias as whole units of the accumulator, as far as they fit there, and the rest."""
    units = np.rint(bias / scale.astype(np.float64)).clip(-MOST_UNITS, MOST_UNITS)
    return units.astype(np.int32), (bias - units * scale).astype(np.float32)


class IntegerConvs:
    """Builds the convolutions of one graph; where neighbourhoods are is found once for each size.

    Args:
        unsigned_weights: whether weights must be unsigned.
    """

    def __init__(self, unsigned_weights: bool) -> None:
        self.unsigned_weights = unsigned_weights
        self.positions: dict[tuple[object, ...], Value] = {}

    def build(self, conv: Conv) -> tuple[Value, Value]:
        """The result ``N x C_out x H' x W'``, and that of the node that multiplies."""
        if conv.geometry.groups != 1:
            sums = multiplied = _conv_integer(conv)
        elif _has_few_products(conv):
            sums, multiplied = self._places(conv)
        else:
            return self._neighbourhoods(conv)
        values = make("Cast", make("Add", sums, constant(conv.units.reshape(-1, 1, 1))), to=onnx_ir.DataType.FLOAT)
        return _plus_rest(make("Mul", values, constant(conv.scale.reshape(-1, 1, 1))), conv), multiplied

    def _neighbourhoods(self, conv: Conv) -> tuple[Value, Value]:
        """One product; the shape around it is restored afterwards."""
        around = self._around(conv)
        rows = make("Reshape", around, constant(np.array([-1, conv.weight[0].size])))
        values = make("DequantizeLinear", rows, number(1.0), constant(conv.zero_point))
        stored, zero = self._stored(conv.weight.transpose(2, 3, 1, 0).reshape(-1, len(conv.weight)))
        scale = constant(conv.scale)
        weight = make("DequantizeLinear", constant(stored), scale, constant(np.full(len(conv.scale), zero)), axis=1)
        product = make("Gemm", values, weight, make("DequantizeLinear", constant(conv.units), scale, axis=0))
        shape = make("Concat", make("Shape", around, end=3), constant(np.array([len(conv.weight)])), axis=0)
        return _plus_rest(channels_first(make("Reshape", product, shape)), conv), product

    def _around(self, conv: Conv) -> Value:
        """Each pixel's neighbourhood: ``N x H' x W' x kH*kW x C_in``."""
        padded = _padded_pixels(conv)
        key = (*map(str, conv.codes.shape or [padded]), conv.kernel, conv.geometry)
        if key not in self.positions:
            self.positions[key] = _positions(padded, conv.kernel, conv.geometry)
        row = make("Reshape", padded, constant(np.array([0, -1, conv.weight.shape[1]])))
        return make("Gather", row, self.positions[key], axis=1)

    def _places(self, conv: Conv) -> tuple[Value, Value]:
        """The sum over places in the kernel of each pixel's products, moved to where they belong."""
        stored, zero = self._stored(conv.weight.transpose(1, 2, 3, 0).reshape(conv.weight.shape[1], -1))
        points = constant(conv.zero_point), constant(zero)
        products = make("MatMulInteger", _padded_pixels(conv), constant(stored), *points)
        return channels_first(_moved_sum(products, len(conv.weight), conv)), products

    def _stored(self, weight: NDArray[np.int8]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weights and their zero point."""
        return unsigned(weight) if self.unsigned_weights else (np.ascontiguousarray(weight), np.array(0, np.int8))


def _has_few_products(conv: Conv) -> bool:
    """Whether products take no more memory than neighbourhoods."""
    outputs, inputs, *_ = conv.weight.shape
    return conv.geometry.stride == (1, 1) and INT32_BYTES * outputs <= inputs


def _conv_integer(conv: Conv) -> Value:
    stored, zero = unsigned(conv.weight)
    points = constant(conv.zero_point), constant(zero)
    return make("ConvInteger", conv.codes, constant(stored), *points, **window(conv.geometry))


def unsigned(weight: NDArray[np.int8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Weights as unsigned bytes, and their zero point."""
    return (weight.astype(np.int16) + UNSIGNED).astype(np.uint8), np.array(UNSIGNED, np.uint8)


def _padded_pixels(conv: Conv) -> Value:
    pixels = channels_last(conv.codes)
    padding = constant(np.array([0, *conv.geometry.padding, 0] * 2))
    return make("Pad", pixels, padding, constant(conv.zero_point)) if any(conv.geometry.padding) else pixels


def _plus_rest(values: Value, conv: Conv) -> Value:
    return make("Add", values, constant(conv.rest.reshape(-1, 1, 1))) if conv.rest.any() else values


def _positions(padded: Value, kernel: tuple[int, ...], geometry: ConvGeometry) -> Value:
    """Where each pixel's neighbours are in a row of all padded pixels: int64 ``H' x W' x kH*kW``."""
    width = make("Shape", padded, start=2, end=3)
    rows, columns = (_starts(padded, axis, kernel, geometry) for axis in (0, 1))
    down, right = (constant(i.reshape(-1) * d) for i, d in zip(np.indices(kernel), geometry.dilation, strict=True))
    neighbours = make("Add", make("Mul", down, width), right)
    first = make("Add", make("Mul", make("Unsqueeze", rows, constant(np.array([1, 2]))), width), columns)
    return make("Add", first, neighbours)


def _starts(padded: Value, axis: int, kernel: tuple[int, ...], geometry: ConvGeometry) -> Value:
    """Rows or columns where the kernel starts."""
    size = make("Squeeze", make("Shape", padded, start=axis + 1, end=axis + 2))
    reach = (kernel[axis] - 1) * geometry.dilation[axis]
    zero, far, stride = (constant(np.array(value)) for value in (0, reach, geometry.stride[axis]))
    starts = make("Range", zero, make("Sub", size, far), stride)
    return make("Unsqueeze", starts, constant(np.array([1]))) if axis else starts


def _moved_sum(products: Value, outputs: int, conv: Conv) -> Value:
    """Channels of products are ordered by place, then by output."""
    axes, parts = constant(np.array([1, 2, 3])), []
    for index, place in enumerate(np.ndindex(*conv.kernel)):
        before = [p * d for p, d in zip(place, conv.geometry.dilation, strict=True)]
        after = [(p + 1 - k) * d for p, k, d in zip(place, conv.kernel, conv.geometry.dilation, strict=True)]
        starts = constant(np.array([*before, index * outputs]))
        ends = constant(np.array([*(end or END for end in after), (index + 1) * outputs]))
        parts.append(make("Slice", products, starts, ends, axes))
    return reduce(lambda total, part: make("Add", total, part), parts)


def window(geometry: ConvGeometry) -> dict[str, Any]:
    """Attributes of a convolution."""
    g = geometry
    return {"strides": g.stride, "pads": [*g.padding, *g.padding], "dilations": g.dilation, "group": g.groups}
