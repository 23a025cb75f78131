"""How the steps of window attention are built in a ``Backend``, for pictures of any size.

Positions in the picture are computed by integer arithmetic in the graph; an engine that knows the size beforehand
computes them once. Windows are cut out and put back by one gather of tokens, cyclic shift included.
"""

from collections.abc import Callable
from typing import Any, Generic

import numpy as np
from torch import nn

from srquant.deploy.export.backend import Arithmetic, Backend, V
from srquant.models.blocks.window_steps import (
    AddMask,
    Crop,
    MergeHeads,
    MergeWindows,
    Mirror,
    ShiftMask,
    SplitHeads,
    SplitWindows,
)

HIDDEN = -100.0
"""The number that a mask adds to the scores of masked tokens."""


class _Integers(Generic[V]):
    """Arithmetic on vectors of integers in a backend."""

    def __init__(self, backend: Backend[V]) -> None:
        self.backend = backend

    def __call__(self, operation: Arithmetic, a: V, b: V | int) -> V:
        second = self.backend.constant(np.array([b])) if isinstance(b, int) else b
        return self.backend.arithmetic(operation, a, second)


def _mirror(backend: Backend[V], mirror: Mirror, name: str, images: V) -> V:
    compute = _Integers(backend)
    for axis in (2, 3):
        size = backend.extent(images, axis)
        windows = compute("add", compute("divide", size, mirror.multiple), 1)
        position = backend.positions(compute("multiply", windows, mirror.multiple))
        period = compute("multiply", size, 2)
        there = compute("modulus", position, period)
        back = compute("subtract", compute("subtract", period, 1), there)
        images = backend.gather(images, compute("minimum", there, back), axis)
    return images


def _crop(backend: Backend[V], crop: Crop, name: str, upscaled: V, images: V) -> V:
    for axis in (2, 3):
        length = _Integers(backend)("multiply", backend.extent(images, axis), crop.scale)
        upscaled = backend.part(upscaled, axis, 0, length)
    return upscaled


def _split_windows(backend: Backend[V], step: SplitWindows, name: str, x: V) -> V:
    features = backend.extent(x, 3)
    tokens = backend.reshape(x, [backend.extent(x, 0), -1, features])
    order = _window_order(backend, x, step.window, step.shift)
    return backend.reshape(backend.gather(tokens, order, 1), [-1, step.window**2, features])


def _merge_windows(backend: Backend[V], step: MergeWindows, name: str, windows: V, like: V) -> V:
    shape = [backend.extent(like, axis) for axis in range(4)]
    tokens = backend.reshape(windows, [shape[0], -1, shape[3]])
    order = _picture_order(backend, like, step.window, step.shift)
    return backend.reshape(backend.gather(tokens, order, 1), shape)


def _window_order(backend: Backend[V], x: V, window: int, shift: int) -> V:
    """For each token of each window its place in the picture ``x``, counted in rows."""
    compute = _Integers(backend)
    width = backend.extent(x, 2)
    places = []
    for axis in (1, 2):
        length = backend.extent(x, axis)
        shifted = compute("modulus", compute("add", backend.positions(length), shift), length)
        places.append(compute("multiply", shifted, width) if axis == 1 else shifted)
    return _windows(backend, places[0], places[1], window)


def _windows(backend: Backend[V], rows: V, columns: V, window: int) -> V:
    """``rows[y] + columns[x]`` of every token, window by window."""
    by_row = backend.reshape(rows, [-1, 1, window, 1])
    by_column = backend.reshape(columns, [1, -1, 1, window])
    return backend.reshape(backend.arithmetic("add", by_row, by_column), [-1])


def _picture_order(backend: Backend[V], x: V, window: int, shift: int) -> V:
    """For each pixel of the picture ``x`` the place of its token, counted window by window."""
    compute = _Integers(backend)
    tokens_in_row = compute("multiply", backend.extent(x, 2), window)
    rows = _places(backend, backend.extent(x, 1), shift, window, tokens_in_row, window)
    columns = _places(backend, backend.extent(x, 2), shift, window, window**2, 1)
    table = compute("add", backend.reshape(rows, [-1, 1]), backend.reshape(columns, [1, -1]))
    return backend.reshape(table, [-1])


def _places(backend: Backend[V], length: V, shift: int, window: int, between: V | int, inside: int) -> V:
    """Part of a token's index from its position along one axis: ``between`` per window and ``inside`` per pixel."""
    compute = _Integers(backend)
    back = compute("subtract", compute("add", backend.positions(length), length), shift)
    position = compute("modulus", back, length)
    windows = compute("multiply", compute("divide", position, window), between)
    return compute("add", windows, compute("multiply", compute("modulus", position, window), inside))


def _shift_mask(backend: Backend[V], mask: ShiftMask, name: str, x: V) -> V:
    compute = _Integers(backend)
    rows, columns = (_strips(backend, backend.extent(x, axis), mask) for axis in (1, 2))
    regions = _windows(backend, compute("multiply", rows, 3), columns, mask.window)
    tokens = mask.window**2
    queries, keys = (backend.reshape(regions, shape) for shape in ([-1, tokens, 1], [-1, 1, tokens]))
    difference = backend.arithmetic("subtract", queries, keys)
    apart = compute("minimum", compute("multiply", difference, difference), 1)
    return backend.arithmetic("multiply", backend.to_float(apart), backend.constant(np.float32(HIDDEN).reshape(1)))


def _strips(backend: Backend[V], length: V, mask: ShiftMask) -> V:
    """0 before the last window, 1 in it, 2 where the shift wrapped around."""
    compute = _Integers(backend)
    position = backend.positions(length)

    def reached(distance: int) -> V:
        beyond = compute("add", compute("subtract", position, length), distance + 1)
        return compute("minimum", compute("maximum", beyond, 0), 1)

    return backend.arithmetic("add", reached(mask.window), reached(mask.shift))


def _add_mask(backend: Backend[V], step: AddMask, name: str, scores: V, mask: V) -> V:
    shape = [backend.extent(scores, axis) for axis in range(4)]
    windows, (_, heads, queries, keys) = backend.extent(mask, 0), shape
    by_window = backend.reshape(scores, [-1, windows, heads, queries, keys])
    for_all_heads = backend.reshape(mask, [windows, 1, queries, keys])
    return backend.reshape(backend.arithmetic("add", by_window, for_all_heads), shape)


def _split_heads(backend: Backend[V], step: SplitHeads, name: str, x: V) -> V:
    shape: list[int | V] = [backend.extent(x, 0), backend.extent(x, 1), step.heads, -1]
    return backend.transpose(backend.reshape(x, shape), (0, 2, 1, 3))


def _merge_heads(backend: Backend[V], step: MergeHeads, name: str, x: V) -> V:
    tokens = backend.transpose(x, (0, 2, 1, 3))
    return backend.reshape(tokens, [backend.extent(tokens, 0), backend.extent(tokens, 1), -1])


WINDOW_STEPS: dict[type[nn.Module], Callable[..., Any]] = {
    Mirror: _mirror,
    Crop: _crop,
    SplitWindows: _split_windows,
    MergeWindows: _merge_windows,
    ShiftMask: _shift_mask,
    AddMask: _add_mask,
    SplitHeads: _split_heads,
    MergeHeads: _merge_heads,
}
"""Step -> function of backend, step, its name and input values."""
