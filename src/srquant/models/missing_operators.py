"""Import torchvision beside a PyTorch for which it wasn't built."""

import importlib
import re
import sys

import torch

OPERATORS = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
"""Holds the operators that ``declare_missing_operators`` declares, for as long as the process runs."""

MOST_OPERATORS = 20
"""More missing operators mean that something else is wrong."""


def declare_missing_operators() -> None:
    """Declare operators whose lack keeps torchvision from being imported; nothing that upscales calls them.

    torchvision's Python code describes operators of its compiled library. PyTorch for CPUs can't load the library of
    PyPI's torchvision, and the import ends with "operator torchvision::nms does not exist".
    """
    for _ in range(MOST_OPERATORS):
        missing = missing_operator()
        if missing is None:
            return
        OPERATORS.define(f"{missing}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]  # half imported


def missing_operator() -> str | None:
    """The operator without which torchvision can't be imported; None if it can, or isn't installed.

    Raises:
        ImportError: it can't be imported for another reason.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return None
    except RuntimeError as error:
        missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
        if missing is None:
            raise ImportError(f"torchvision can't be imported: {error}") from error
        return missing[1]
    return None
