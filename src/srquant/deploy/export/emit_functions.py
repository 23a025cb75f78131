"""How each function and tensor method that a traced network calls is built in a ``Backend``.

Heights and widths are unknown until the network runs: ``x.shape`` gives ``Extent`` objects, which may only say
that something is resized to the size of ``x``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from srquant.deploy.export.backend import Arithmetic, Backend, Interpolation, V, floats
from srquant.deploy.export.emit_modules import pair
from srquant.errors import EngineError


@dataclass(frozen=True)
class Extent:
    """Size of a value along an axis."""

    value: Any
    axis: int


def _arithmetic(operation: Arithmetic) -> Callable[..., Any]:
    def build(backend: Backend[V], a: V | float, b: V | float, alpha: float = 1.0) -> V:
        second = b if alpha == 1.0 else build(backend, b, alpha)
        return backend.arithmetic(operation, _value(backend, a), _value(backend, second))

    return build


def _value(backend: Backend[V], operand: V | float) -> V:
    return backend.constant(floats(operand)) if isinstance(operand, int | float) else operand


def _activation(backend: Backend[V], function: Any, x: V) -> V:
    return backend.activation(function, x)


def _leaky_relu(backend: Backend[V], x: V, negative_slope: float = 0.01, inplace: bool = False) -> V:
    return backend.prelu(x, floats([negative_slope]))


def _silu(backend: Backend[V], x: V, inplace: bool = False) -> V:
    return backend.arithmetic("multiply", x, backend.activation("sigmoid", x))


def _pixel_shuffle(backend: Backend[V], x: V, upscale_factor: int) -> V:
    return backend.pixel_shuffle(x, upscale_factor)


def _max_pool(backend: Backend[V], x: V, kernel_size: Any, stride: Any = None, padding: Any = 0, **unused: object) -> V:
    return backend.max_pool(x, pair(kernel_size), pair(stride or kernel_size), pair(padding))


def _interpolate(
    backend: Backend[V],
    x: V,
    size: Sequence[Extent] | None = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> V:
    if mode not in ("nearest", "bilinear") or align_corners or antialias:
        raise EngineError(
            f"interpolation '{mode}' (align_corners={align_corners}, antialias={antialias}) has no form in exports; "
            "engine 'torch' runs it"
        )
    kind: Interpolation = "nearest" if mode == "nearest" else "bilinear"
    if scale_factor is not None:
        return backend.resize(x, float(pair(scale_factor)[0]), kind)
    if size is None or not all(isinstance(extent, Extent) for extent in size):
        raise EngineError(f"interpolation to the fixed size {size}; engine 'torch' runs it")
    return backend.resize_like(x, size[0].value, kind)


def _concatenate(backend: Backend[V], values: Sequence[V], dim: int = 0) -> V:
    if dim not in (1, -3):
        raise EngineError(f"concatenation along axis {dim}; engine 'torch' runs it")
    return backend.concatenate(list(values))


def _narrow(backend: Backend[V], x: V, dim: int, start: int, length: int) -> V:
    if dim not in (1, -3):
        raise EngineError(f"a part along axis {dim}; engine 'torch' runs it")
    return backend.part(x, 1, start, start + length)


def _item(backend: Backend[V], sequence: Sequence[Any], index: int | slice) -> Any:
    return sequence[index]


def _size(backend: Backend[V], x: V, axis: int | None = None) -> Extent | tuple[Extent, ...]:
    extents = tuple(Extent(x, i) for i in range(4))
    return extents if axis is None else extents[axis]


def _attribute(backend: Backend[V], x: V, name: str) -> Any:
    if name != "shape":
        raise EngineError(f"attribute '{name}' of a value has no form in exports; engine 'torch' runs it")
    return _size(backend, x)


def _permute(backend: Backend[V], x: V, *order: Any) -> V:
    return backend.transpose(x, order[0] if isinstance(order[0], tuple | list) else order)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("add", "iadd", "add_"), _arithmetic("add")),
    **dict.fromkeys(("sub", "isub", "sub_"), _arithmetic("subtract")),
    **dict.fromkeys(("mul", "imul", "mul_"), _arithmetic("multiply")),
    **dict.fromkeys(("truediv", "div"), _arithmetic("divide")),
    "neg": lambda backend, x: backend.arithmetic("multiply", x, backend.constant(floats(-1.0))),
    "relu": lambda backend, x, inplace=False: _activation(backend, "relu", x),
    "relu_": lambda backend, x: _activation(backend, "relu", x),
    "sigmoid": lambda backend, x: _activation(backend, "sigmoid", x),
    "tanh": lambda backend, x: _activation(backend, "tanh", x),
    "leaky_relu": _leaky_relu,
    "silu": _silu,
    "pixel_shuffle": _pixel_shuffle,
    "max_pool2d": _max_pool,
    "boolean_dispatch": _max_pool,
    "interpolate": _interpolate,
    "cat": _concatenate,
    "permute": _permute,
    "narrow": _narrow,
    "getitem": _item,
    "size": _size,
    "getattr": _attribute,
    "contiguous": lambda backend, x: x,
}
"""Name of function or tensor method -> function of backend and the call's arguments."""
