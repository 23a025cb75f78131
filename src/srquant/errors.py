"""Everything srquant raises on purpose.

SRQuantError
├── InputError (ValueError)          what the user gave is wrong; exit code 2
│   ├── CheckpointError              a file of float weights
│   ├── ImageError                   a picture
│   ├── DatasetError                 a folder of pictures
│   ├── PolicyError                  bits, layer names, method options
│   ├── QuantizedFileError           a file written by ``srquant quantize``
│   └── OutputError                  a place to write to
├── EngineError (RuntimeError)       an inference engine is missing or can't do what was asked; exit code 2
└── TrainingError (RuntimeError)     a training that was stopped; exit code 1
"""

import difflib
from collections.abc import Iterable


class SRQuantError(Exception):
    """Base of all errors raised on purpose."""


class InputError(SRQuantError, ValueError):
    """Something the user gave is wrong. The message names the thing, its value and the next step."""


class CheckpointError(InputError):
    """A checkpoint can't be read, is not a known network, or holds impossible values."""


class ImageError(InputError):
    """A picture can't be read or has a form that can't be upscaled."""


class DatasetError(InputError):
    """A folder doesn't hold the pictures it should."""


class PolicyError(InputError):
    """Bits, layer names or method options that can't be used."""


class QuantizedFileError(InputError):
    """A quantized file is damaged, from a newer version, or contradicts itself."""


class OutputError(InputError):
    """The output can't be written, or exists and must not be replaced."""


class EngineError(SRQuantError, RuntimeError):
    """An inference engine is missing or can't run this network."""


class TrainingError(SRQuantError, RuntimeError):
    """A training diverged, or lost one of its processes; its last checkpoint is good."""


def suggest(name: str, known: Iterable[str]) -> str:
    """Near names as the end of an error message, e.g. ``did you mean 'mse'?``.

    Returns:
        The near names, or all known names where none is near.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    return "known: " + ", ".join(choices)
