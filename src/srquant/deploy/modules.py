"""How each kind of layer is built in a ``Backend``."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from srquant.deploy.backend import Backend, V, floats, per_channel
from srquant.deploy.lowered import BlockShuffle, Dequantize, IntegerConv2d, IntegerLinear, Quantize, Window
from srquant.errors import EngineError
from srquant.models.layers import Add, MeanShift


def _conv(backend: Backend[V], conv: nn.Conv2d, name: str, x: V) -> V:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise EngineError(f"layer '{name}' pads with {conv.padding_mode}, {conv.padding}; engine 'torch' runs it")
    bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
    window = Window(pair(conv.stride), pair(conv.padding), pair(conv.dilation), conv.groups)
    return backend.conv(x, floats(conv.weight), floats(bias), window, name)


def _linear(backend: Backend[V], linear: nn.Linear, name: str, x: V) -> V:
    bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias
    return backend.linear(x, floats(linear.weight), floats(bias), name)


def _integer_conv(backend: Backend[V], layer: IntegerConv2d, name: str, x: V) -> V:
    return backend.integer_conv(x, layer, name)


def _integer_linear(backend: Backend[V], layer: IntegerLinear, name: str, x: V) -> V:
    return backend.integer_linear(x, layer, name)


def _quantize(backend: Backend[V], quantize: Quantize, name: str, x: V) -> V:
    scaling = quantize.scaling
    if scaling is None:
        return backend.quantize(x, quantize.grid)
    padded = backend.pad(x, scaling.padding) if any(scaling.padding) else x
    return backend.quantize_channels(padded, quantize.grid, floats(scaling.lower)[None], floats(scaling.step)[None])


def _dequantize(backend: Backend[V], dequantize: Dequantize, name: str, x: V) -> V:
    return backend.dequantize(x, dequantize.grid.step, dequantize.offset)


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
    Quantize: _quantize,
    Dequantize: _dequantize,
    Add: _add,
    MeanShift: _mean_shift,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: lambda backend, module, name, x: backend.activation("relu", x),
    nn.Sigmoid: lambda backend, module, name, x: backend.activation("sigmoid", x),
    nn.Tanh: lambda backend, module, name, x: backend.activation("tanh", x),
    nn.SiLU: lambda backend, module, name, x: backend.arithmetic("multiply", x, backend.activation("sigmoid", x)),
    nn.LeakyReLU: _leaky_relu,
    nn.PReLU: _prelu,
    nn.PixelShuffle: lambda backend, module, name, x: backend.pixel_shuffle(x, module.upscale_factor),
    BlockShuffle: lambda backend, module, name, x: backend.block_shuffle(x, module.factor),
    nn.MaxPool2d: _max_pool,
    nn.AdaptiveAvgPool2d: _mean,
    nn.Upsample: _upsample,
    nn.Identity: _same,
    nn.Dropout: _same,
}
"""Layer type -> function of backend, layer, layer name and input values."""
