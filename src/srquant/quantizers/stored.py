"""Checked reading of a quantized file: JSON fields and tensors, each taken once."""

import json
import re
from typing import Any, TypeVar

import torch
from torch import Tensor

from srquant.errors import QuantizedFileError
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.models.checkpoint_file.values import LARGEST, magnitude_problem

Json = None | bool | int | float | str | list[Any] | dict[str, Any]

T = TypeVar("T")

NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number with a decimal point",
    str: "a text",
    list: "a list",
    dict: "an object",
}
"""JSON's types in messages."""


LONGEST_JSON = 2**24
"""Characters of JSON in a file; those of networks have less than a tenth."""

MOST_BRACKETS = 2**18
"""Lists and objects in it; each takes some hundred bytes of memory."""

DEEPEST_JSON = 64
"""Lists and objects inside each other."""

BRACKETS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]')
"""Texts, opening and closing brackets."""


def parse_json(text: str) -> Any:
    """The values of JSON, of a size and nesting that networks have; both are checked before anything is built.

    Raises:
        QuantizedFileError: it is longer or nested deeper, or not JSON.
    """
    if len(text) > LONGEST_JSON:
        raise QuantizedFileError(f"it has {len(text):,} characters of JSON, need at most {LONGEST_JSON:,}")
    _check_brackets(text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise QuantizedFileError(f"it is not JSON ({error})") from error


def _check_brackets(text: str) -> None:
    count = depth = 0
    for match in BRACKETS.finditer(text):
        opens, closes = match[0] in "[{", match[0] in "]}"
        count, depth = count + opens, depth + opens - closes
        if depth > DEEPEST_JSON or count > MOST_BRACKETS:
            found = f"more than {MOST_BRACKETS:,} lists, or {DEEPEST_JSON} inside each other"
            raise QuantizedFileError(f"it is not JSON of a network: {found}")


class Fields:
    """The fields of one JSON object.

    Messages name the field and its value; whoever reads the file adds its path and the next step.

    Args:
        where: what the object describes, for messages.
        values: the parsed JSON.

    Raises:
        QuantizedFileError: it is not an object; from the methods: a field is missing, of another type, or impossible.
    """

    def __init__(self, where: str, values: Any) -> None:
        if type(values) is not dict:
            raise QuantizedFileError(f"{where} is {values!r:.80}, need a JSON object")
        self.where = where
        self.values: dict[str, Any] = dict(values)

    def take(self, name: str, kind: type[T]) -> T:
        """Remove a field whose type is exactly ``kind``: a bool is not an int."""
        if name not in self.values:
            raise QuantizedFileError(f"{self.where}: field {name!r} is missing")
        value = self.values.pop(name)
        if type(value) is not kind:
            raise self.wrong(name, value, NAMES[kind])
        return value

    def optional(self, name: str, kind: type[T]) -> T | None:
        """The same for a field that may be null."""
        if self.values.get(name, 0) is None:
            del self.values[name]
            return None
        return self.take(name, kind)

    def integer(self, name: str, least: int, most: int | None = None) -> int:
        """Remove a whole number within limits."""
        value = self.take(name, int)
        if value < least or (most is not None and value > most):
            raise self.wrong(name, value, f"at least {least}" if most is None else f"{least} to {most}")
        return value

    def factor(self, name: str) -> float:
        """Remove a number that may be multiplied with values: finite, at most 1e12."""
        value = self.take(name, float)
        if not abs(value) <= LARGEST:
            raise self.wrong(name, value, f"at most {LARGEST:g}")
        return value

    def bits(self, name: str) -> int:
        """Remove a number of bits, 2 to 8."""
        return self.integer(name, FEWEST_BITS, MOST_BITS)

    def integers(self, name: str, least: int, most: int | None = None) -> tuple[int, ...]:
        """Remove a list of whole numbers within limits."""
        listed = self.take(name, list)
        items = Fields(f"{self.where}: {name}", {str(i): value for i, value in enumerate(listed)})
        return tuple(items.integer(str(i), least, most) for i in range(len(listed)))

    def strings(self, name: str) -> tuple[str, ...]:
        """Remove a list of texts."""
        listed = self.take(name, list)
        items = Fields(f"{self.where}: {name}", {str(i): value for i, value in enumerate(listed)})
        return tuple(items.take(str(i), str) for i in range(len(listed)))

    def inside(self, name: str) -> "Fields":
        """Remove a field that is a JSON object."""
        return Fields(f"{self.where}: {name}", self.take(name, dict))

    def inside_optional(self, name: str) -> "Fields | None":
        """The same for a field that may be null."""
        values = self.optional(name, dict)
        return None if values is None else Fields(f"{self.where}: {name}", values)

    def wrong(self, name: str, value: Any, need: str) -> QuantizedFileError:
        """The error of an impossible value."""
        return QuantizedFileError(f"{self.where}: field {name!r} is {value!r:.80}, need {need}")

    def end(self) -> None:
        """Raise where a field is left that nothing has taken."""
        if self.values:
            raise QuantizedFileError(f"{self.where}: unknown fields {sorted(self.values)[:4]}")


class StoredTensors:
    """The tensors of a file, or those whose names start with a prefix.

    Args:
        tensors: all tensors of the file; those that are taken are removed.
        prefix: of the names.
    """

    def __init__(self, tensors: dict[str, Tensor], prefix: str = "") -> None:
        self.tensors, self.prefix = tensors, prefix

    def inside(self, prefix: str) -> "StoredTensors":
        """The tensors whose names start with a longer prefix."""
        return StoredTensors(self.tensors, self.prefix + prefix)

    def take(self, name: str, dtype: torch.dtype, *shapes: tuple[int, ...]) -> Tensor:
        """Remove a tensor that has the type, one of the shapes, and finite values of at most 1e12.

        Raises:
            QuantizedFileError: it is missing, or of another type or shape, not finite, or absurdly large.
        """
        name = self.prefix + name
        tensor = self.tensors.pop(name, None)
        if tensor is None:
            raise QuantizedFileError(f"tensor {name!r} is missing")
        if tensor.dtype != dtype or tuple(tensor.shape) not in shapes:
            need = " or ".join(str(shape) for shape in shapes)
            raise QuantizedFileError(f"tensor {name!r} is {tensor.dtype} {tuple(tensor.shape)}, need {dtype} {need}")
        if not bool(torch.isfinite(tensor).all()):
            raise QuantizedFileError(f"tensor {name!r} has values that are not finite")
        problem = magnitude_problem(tensor)
        if problem is not None:
            raise QuantizedFileError(f"tensor {name!r} {problem}")
        return tensor

    def bounds(self, *shapes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Remove lower and upper bound, stacked in one float32 tensor of shape ``2``, or of one of ``shapes``."""
        lower, upper = self.take("bounds", torch.float32, *(shapes or ((2,),))).unbind()
        return lower, upper
