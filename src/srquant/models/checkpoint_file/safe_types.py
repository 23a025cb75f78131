"""What a pickle of weights may name: tensors, and harmless values beside them, of which nothing is built.

PyTorch's loader calls what a pickle names. Names of ``TENSORS`` are PyTorch's own and only make tensors from what the
file holds. Those of ``BESIDE`` are common in checkpoints of training and are replaced by ``Left``, which keeps nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

TENSORS = re.compile(
    r"collections\.(OrderedDict|Counter)|torch\.(Size|device|\w+Storage|storage\.(Untyped|Typed)Storage)"
    r"|torch\.(b?float|u?int|complex|q?u?int)\w+|torch\.(bool|half|double|long|short)"
    r"|torch\._utils\._rebuild_(tensor(_v[23])?|parameter(_with_state)?)|torch\.nn\.parameter\.Parameter"
    r"|torch\._tensor\._rebuild_from_type_v2|torch\.Tensor|_codecs\.encode|builtins\.(set|complex)"
)
"""Full names that PyTorch's loader may take as they are."""

ODD = {
    "_rebuild_sparse_tensor": "sparse tensors",
    "_rebuild_qtensor": "quantized tensors",
    "_rebuild_nested_tensor": "nested tensors",
    "_rebuild_meta_tensor_no_storage": "tensors without values (device meta)",
    "_rebuild_wrapper_subclass": "tensors of a special class",
    "_rebuild_device_tensor_from_numpy": "tensors of another device",
    "_rebuild_device_tensor_from_cpu_tensor": "tensors of another device",
    "bytearray": "raw bytes",
}
"""Last parts of names that PyTorch would build, but networks here have no use for, in words."""


class Left:
    """Stands where a pickle has a value beside the weights; takes any arguments and any state, and keeps nothing."""

    def __new__(cls, *values: Any) -> "Left":
        """One of them."""
        return super().__new__(cls)

    def __init__(self, *values: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        """Forget the state."""


class LeftDict:
    """Stands where a pickle has a kind of dict; makes a plain one, so that the loader may fill it."""

    def __new__(cls, *values: Any) -> dict[Any, Any]:  # type: ignore[misc]
        """An empty dict."""
        return {}


NUMPY_TYPES = ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "Float16", "Float32", "Float64")

LIGHTNING = (
    "lightning_fabric.utilities.data",
    "lightning.fabric.utilities.data",
    "pytorch_lightning.utilities.parsing",
    "lightning.pytorch.utilities.parsing",
)
"""Modules that define, or defined, the dict in which Lightning keeps arguments."""

BESIDE: Mapping[str, type[Left] | type[LeftDict]] = {
    **{f"builtins.{name}": Left for name in ("int", "float", "bool", "list", "dict", "tuple", "str")},
    **{f"numpy.{core}.multiarray.{name}": Left for core in ("core", "_core") for name in ("scalar", "_reconstruct")},
    **{f"numpy.dtypes.{kind}DType": Left for kind in NUMPY_TYPES},
    "numpy.dtype": Left,
    "numpy.ndarray": Left,
    **{f"{module}.AttributeDict": LeftDict for module in LIGHTNING},
    "collections.defaultdict": LeftDict,
    "argparse.Namespace": Left,
    "types.SimpleNamespace": Left,
    "datetime.datetime": Left,
    "datetime.timedelta": Left,
    **{f"{module}.{name}Path": Left for module in ("pathlib", "pathlib._local") for name in ("", "Posix", "Windows")},
}
"""What stands in for each name."""
