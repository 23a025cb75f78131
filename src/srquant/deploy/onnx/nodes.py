"""Nodes and constants of an ONNX graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir
from numpy.typing import NDArray
from onnxscript import opset18

Value = onnx_ir.Value
Attribute = int | str | Sequence[int] | onnx_ir.TensorProtocol


def make(operator: str, *inputs: Value | int, **attributes: Attribute) -> Value:
    """The result of a new node."""
    result: Value = getattr(opset18, operator)(*inputs, **attributes)
    return result


def constant(values: NDArray[Any]) -> Value:
    """A constant tensor."""
    return make("Constant", value=onnx_ir.tensor(values))


def number(value: float) -> Value:
    """A constant float32."""
    return constant(np.array(value, np.float32))
