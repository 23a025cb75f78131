"""A second device for machines without one: the CPU computes, but tensors of two devices can't be mixed.

Its tensors say that they are on the device ``meta`` and hold their values in a tensor on the CPU. As on CUDA, an
operation on tensors of both devices is an error, except where the tensor on the CPU has no axes, and ``numpy`` can't
read them. Unlike on PyTorch's own ``meta`` device, values can be read, so a whole method runs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from srquant import devices
from srquant.data.calibration import CalibrationSet

DEVICE = torch.device("meta")
aten = torch.ops.aten

COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
"""Operations whose indices may be on the CPU, as on CUDA."""

ALL_TOGETHER = {aten.cat.default, aten.stack.default, aten.bucketize.Tensor, aten.searchsorted.Tensor}
"""Operations that take no tensor from the CPU, not even one without axes."""


class OnDevice(Tensor):
    """A tensor on the second device.

    Attributes:
        values: the same values on the CPU.
    """

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "OnDevice":
        return Tensor._make_wrapper_subclass(
            cls,
            values.shape,
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=DEVICE,
        )

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __repr__(self) -> str:
        return f"OnDevice({self.values})"

    def tolist(self) -> Any:
        return self.values.tolist()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None) -> Tensor:
        return self.values.new_tensor(data, dtype=dtype).to(DEVICE)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


class SecondDevice(TorchDispatchMode):
    """Makes the tensors that are created on the second device, and moves tensors to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return compute(func, args, kwargs or {})


WITHOUT: set[torch.dtype] = set()
"""Types of numbers that the second device can't compute with now."""


class Constructors(TorchFunctionMode):
    """``torch.tensor`` makes tensors of the device ``meta`` without values: here they get their values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.tensor and kwargs.get("device") == DEVICE:
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        return func(*args, **kwargs)


def compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, OnDevice)]
    wanted = kwargs.get("device")
    refuse_mixed(func, tensors, ours)
    wrap = bool(ours) if wanted is None else torch.device(wanted) == DEVICE
    if func is aten.copy_.default:
        wrap = isinstance(args[0], OnDevice)
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    found = {id(tensor.values): tensor for tensor in ours}
    result = func(*tree_map(inner, args), **tree_map(inner, kwargs))

    def outer(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in found:
            return found[id(value)]
        if wrap and value.dtype in WITHOUT:
            raise TypeError(f"{func}: the device has no {value.dtype}")
        return OnDevice(value) if wrap else value

    if wrap and wanted is not None and isinstance(result, Tensor) and any(result is t for t in tensors):
        result = result.clone()
    return tree_map(outer, result)


def refuse_mixed(func: Any, tensors: list[Tensor], ours: list[OnDevice]) -> None:
    others = [tensor for tensor in tensors if not isinstance(tensor, OnDevice)]
    if not ours or not others or func in COPIES or (func in INDEXED and isinstance(tensors[0], OnDevice)):
        return
    if func in ALL_TOGETHER or any(tensor.dim() for tensor in others):
        raise RuntimeError(f"{func}: tensors are on both devices, {[tuple(t.shape) for t in others]} on the CPU")


def inner(value: Any) -> Any:
    return value.values if isinstance(value, OnDevice) else value


@pytest.fixture
def second_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The second device; tensors can be created on it and moved to it during the test.

    PyTorch's inference mode, which tensors like these don't know, is replaced by ``no_grad``.
    """
    monkeypatch.setattr(torch, "inference_mode", torch.no_grad)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with SecondDevice(), Constructors():
            yield DEVICE
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


@pytest.fixture
def device_without_float64(second_device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The second device, which refuses float64 as mps does."""
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", (second_device.type,))
    WITHOUT.add(torch.float64)
    yield second_device
    WITHOUT.clear()


@pytest.fixture(scope="session")
def calibration(smooth_pictures: Callable[[int, int, int], Path]) -> CalibrationSet:
    return CalibrationSet(smooth_pictures(4, 20, 22), count=4, seed=0, patch=14)
