"""How each kind of layer is built in a ``Backend``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from srquant.deploy.export.backend import Backend, V, floats, per_channel
from srquant.deploy.export.emit_windows import WINDOW_STEPS
from srquant.deploy.export.nodes import (
    BlockShuffle,
    Dequantize,
    DequantizeAddend,
    DequantizeOperand,
    IntegerConv2d,
    IntegerLinear,
    Quantize,
)
from srquant.deploy.frozen.channels import ChannelScaling
from srquant.deploy.frozen.dynamic import DynamicPoints
from srquant.deploy.frozen.matmul import IntegerMatmul, OperandGrid
from srquant.deploy.frozen.plq import PiecewisePoints
from srquant.errors import EngineError
from srquant.models.blocks.conv_geometry import ConvGeometry
from srquant.models.blocks.layers import Add, Matmul, MeanShift
from srquant.quantizers.dan import SMALLEST_WIDTH


def _conv(backend: Backend[V], conv: nn.Conv2d, name: str, x: V) -> V:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise EngineError(f"layer '{name}' pads with {conv.padding_mode}, {conv.padding}; engine 'torch' runs it")
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
    geometry = ConvGeometry(pair(conv.stride), pair(conv.padding), pair(conv.dilation), conv.groups)
    return backend.conv(x, floats(conv.weight), floats(bias), geometry, name)


def _linear(backend: Backend[V], linear: nn.Linear, name: str, x: V) -> V:
    bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias
    return backend.linear(x, floats(linear.weight), floats(bias), name)


def _integer_conv(backend: Backend[V], layer: IntegerConv2d, name: str, x: V) -> V:
    return backend.integer_conv(x, layer, name)


def _integer_linear(backend: Backend[V], layer: IntegerLinear, name: str, x: V) -> V:
    return backend.integer_linear(x, layer, name)


def _quantize_operand(backend: Backend[V], operand: OperandGrid, name: str, x: V) -> V:
    return backend.quantize_operand(x, operand)


def _dequantize_operand(backend: Backend[V], module: DequantizeOperand, name: str, x: V) -> V:
    return backend.dequantize_operand(x, module.operand.grid.step, module.operand.offset)


def _matmul(backend: Backend[V], matmul: Matmul, name: str, a: V, b: V) -> V:
    return backend.matmul(a, b, name)


def _integer_matmul(backend: Backend[V], matmul: IntegerMatmul, name: str, left: V, right: V) -> V:
    """See ``IntegerMatmul`` for the formula; terms of offsets that are zero are left out."""
    (left_step, right_step), (left_offset, right_offset) = matmul.steps, matmul.offsets
    values = backend.integer_matmul(left, right, left_step * right_step, name)
    if left_offset:
        sums = backend.total(backend.dequantize_operand(right, 1.0, 0.0), -2)
        values = backend.arithmetic("add", values, _scaled(backend, sums, left_offset * right_step))
    if right_offset:
        sums = backend.total(backend.dequantize_operand(left, left_step, left_offset), -1)
        values = backend.arithmetic("add", values, _scaled(backend, sums, right_offset))
    return values


def _scaled(backend: Backend[V], x: V, factor: float) -> V:
    return backend.arithmetic("multiply", x, backend.constant(floats(factor)))


def _quantize(backend: Backend[V], quantize: Quantize, name: str, x: V) -> V:
    before = quantize.before
    if isinstance(before, ChannelScaling):
        padded = backend.pad(x, before.padding) if any(before.padding) else x
        return backend.quantize_channels(padded, quantize.grid, floats(before.lower)[None], floats(before.step)[None])
    if isinstance(before, PiecewisePoints):
        x = backend.pieces(x, floats(before.edges), before.levels)
    elif before is not None:
        raise EngineError(f"layer '{name}' has a grid that exports have no form for ({before}); engine 'torch' runs it")
    return backend.quantize(x, quantize.grid)


def _dequantize(backend: Backend[V], dequantize: Dequantize, name: str, x: V) -> V:
    return backend.dequantize(x, dequantize.grid.step, dequantize.offset)


def _dequantize_addend(backend: Backend[V], dequantize: DequantizeAddend, name: str, x: V) -> V:
    return backend.dequantize(backend.apart(x), dequantize.grid.step, dequantize.offset)


def _dynamic_points(backend: Backend[V], points: DynamicPoints, name: str, x: V) -> V:
    """One factor and one term per channel before the grid, and one of each behind it."""
    smallest, largest = backend.extreme(x, "smallest", points.axes), backend.extreme(x, "largest", points.axes)
    narrowest, one_half = backend.constant(floats(SMALLEST_WIDTH)), backend.constant(floats(0.5))
    width = backend.arithmetic("maximum", backend.arithmetic("subtract", largest, smallest), narrowest)
    half = backend.arithmetic("multiply", width, one_half)
    middle = backend.arithmetic("add", smallest, half)
    normalised = backend.arithmetic("divide", backend.arithmetic("subtract", x, middle), half)
    restored = backend.arithmetic("multiply", backend.points(normalised, points.grid), half)
    return backend.arithmetic("add", restored, middle)


def _add(backend: Backend[V], add: Add, name: str, a: V, b: V) -> V:
    scaled = b if add.scale == 1.0 else backend.arithmetic("multiply", b, backend.constant(floats(add.scale)))
    return backend.arithmetic("add", a, scaled)


def _mean_shift(backend: Backend[V], shift: MeanShift, name: str, x: V) -> V:
    return backend.arithmetic("add", x, backend.constant(per_channel(shift.bias)))


def _batch_norm(backend: Backend[V], norm: nn.BatchNorm2d, name: str, x: V) -> V:
    if norm.running_mean is None or norm.running_var is None:
        raise EngineError(f"layer '{name}' normalises by the picture's own statistics; engine 'torch' runs it")
    factor = torch.rsqrt(norm.running_var + norm.eps)
    factor = factor if norm.weight is None else factor * norm.weight
    shift = -norm.running_mean * factor
    shift = shift if norm.bias is None else shift + norm.bias
    scaled = backend.arithmetic("multiply", x, backend.constant(per_channel(factor)))
    return backend.arithmetic("add", scaled, backend.constant(per_channel(shift)))


def _layer_norm(backend: Backend[V], norm: nn.LayerNorm, name: str, x: V) -> V:
    if len(norm.normalized_shape) != 1:
        raise EngineError(f"layer '{name}' normalises over several axes; engine 'torch' runs it")
    weight = torch.ones(norm.normalized_shape) if norm.weight is None else norm.weight
    bias = torch.zeros(norm.normalized_shape) if norm.bias is None else norm.bias
    return backend.layer_norm(x, floats(weight), floats(bias), norm.eps)


def _softmax(backend: Backend[V], softmax: nn.Softmax, name: str, x: V) -> V:
    if softmax.dim != -1:
        raise EngineError(f"layer '{name}' is a softmax over axis {softmax.dim}; engine 'torch' runs it")
    return backend.softmax(x)


def _gelu(backend: Backend[V], gelu: nn.GELU, name: str, x: V) -> V:
    if gelu.approximate != "none":
        raise EngineError(f"layer '{name}' is a GELU by {gelu.approximate}; engine 'torch' runs it")
    return backend.activation("gelu", x)


def _channel_shuffle(backend: Backend[V], shuffle: nn.ChannelShuffle, name: str, x: V) -> V:
    batch, channels, height, width = (backend.extent(x, axis) for axis in range(4))
    groups = backend.reshape(x, [batch, shuffle.groups, -1, height, width])
    return backend.reshape(backend.transpose(groups, (0, 2, 1, 3, 4)), [batch, channels, height, width])


def _pixel_unshuffle(backend: Backend[V], unshuffle: nn.PixelUnshuffle, name: str, x: V) -> V:
    f, sizes = unshuffle.downscale_factor, [backend.extent(x, axis) for axis in range(4)]
    factor = backend.constant(np.array([f]))
    height, width = (backend.arithmetic("divide", size, factor) for size in sizes[2:])
    parts = backend.reshape(x, [*sizes[:2], height, f, width, f])
    return backend.reshape(backend.transpose(parts, (0, 1, 3, 5, 2, 4)), [sizes[0], -1, height, width])


def _leaky_relu(backend: Backend[V], relu: nn.LeakyReLU, name: str, x: V) -> V:
    return backend.prelu(x, floats([relu.negative_slope]))


def _prelu(backend: Backend[V], prelu: nn.PReLU, name: str, x: V) -> V:
    return backend.prelu(x, floats(prelu.weight))


def _max_pool(backend: Backend[V], pool: nn.MaxPool2d, name: str, x: V) -> V:
    if pool.ceil_mode or pair(pool.dilation) != (1, 1):
        raise EngineError(f"layer '{name}' pools with ceil_mode or dilation; engine 'torch' runs it")
    return backend.max_pool(x, pair(pool.kernel_size), pair(pool.stride), pair(pool.padding))


def _mean(backend: Backend[V], pool: nn.AdaptiveAvgPool2d, name: str, x: V) -> V:
    if pair(pool.output_size) != (1, 1):
        raise EngineError(f"layer '{name}' pools to {pool.output_size}; engine 'torch' runs it")
    return backend.mean(x)


def _upsample(backend: Backend[V], upsample: nn.Upsample, name: str, x: V) -> V:
    if upsample.scale_factor is None or upsample.align_corners or upsample.mode not in ("nearest", "bilinear"):
        raise EngineError(f"layer '{name}' ({upsample}) has no form in exports; engine 'torch' runs it")
    scale = pair(upsample.scale_factor)[0]
    return backend.resize(x, float(scale), "nearest" if upsample.mode == "nearest" else "bilinear")


def _same(backend: Backend[V], module: nn.Module, name: str, x: V) -> V:
    return x


def pair(value: Any) -> tuple[Any, Any]:
    """A setting for height and width."""
    return (value[0], value[1]) if isinstance(value, tuple | list) else (value, value)


MODULES: dict[type[nn.Module], Callable[..., Any]] = {
    nn.Conv2d: _conv,
    nn.Linear: _linear,
    IntegerConv2d: _integer_conv,
    IntegerLinear: _integer_linear,
    Matmul: _matmul,
    IntegerMatmul: _integer_matmul,
    OperandGrid: _quantize_operand,
    DequantizeOperand: _dequantize_operand,
    Quantize: _quantize,
    DynamicPoints: _dynamic_points,
    Dequantize: _dequantize,
    DequantizeAddend: _dequantize_addend,
    Add: _add,
    MeanShift: _mean_shift,
    nn.BatchNorm2d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.Softmax: _softmax,
    nn.GELU: _gelu,
    nn.ChannelShuffle: _channel_shuffle,
    nn.ReLU: lambda backend, module, name, x: backend.activation("relu", x),
    nn.Sigmoid: lambda backend, module, name, x: backend.activation("sigmoid", x),
    nn.Tanh: lambda backend, module, name, x: backend.activation("tanh", x),
    nn.SiLU: lambda backend, module, name, x: backend.arithmetic("multiply", x, backend.activation("sigmoid", x)),
    nn.LeakyReLU: _leaky_relu,
    nn.PReLU: _prelu,
    nn.PixelShuffle: lambda backend, module, name, x: backend.pixel_shuffle(x, module.upscale_factor),
    nn.PixelUnshuffle: _pixel_unshuffle,
    BlockShuffle: lambda backend, module, name, x: backend.block_shuffle(x, module.factor),
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: _mean,
    nn.Upsample: _upsample,
    nn.Identity: _same,
    nn.Dropout: _same,
    **WINDOW_STEPS,
}
"""Layer type -> function of backend, layer, layer name and input values."""
