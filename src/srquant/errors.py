"""Everything srquant raises on purpose.

SRQuantError
├── InputError (ValueError)          a wrong input of the user; exit code 2
│   ├── CheckpointError              a file of float weights can't be used
│   ├── ImageError                   a picture can't be used
│   ├── DatasetError                 a folder of pictures can't be used
│   ├── PolicyError                  wrong bits, layer names or method options
│   ├── QuantizedFileError           a quantized file can't be used
│   ├── ExportedFileError            an exported .xml or .onnx can't be used
│   └── OutputError                  the output can't be written
├── EngineError (RuntimeError)       an inference engine is missing or can't run the network; exit code 2
└── TrainingError (RuntimeError)     a training run failed; exit code 1
"""

import difflib
from collections.abc import Iterable


class SRQuantError(Exception):
    """Base of all errors raised on purpose."""


class InputError(SRQuantError, ValueError):
    """A wrong input of the user. The message names the input, its value and the next step."""


class CheckpointError(InputError):
    """A checkpoint can't be read, is not a known network, or holds impossible values."""


class ImageError(InputError):
    """A picture can't be read, or is of a kind that can't be upscaled."""


class DatasetError(InputError):
    """A folder doesn't contain the pictures that are needed."""


class PolicyError(InputError):
    """Bits, layer names or method options that can't be used."""


class QuantizedFileError(InputError):
    """A quantized file is damaged, inconsistent, or from a newer version."""


class ExportedFileError(InputError):
    """An exported ``.xml`` or ``.onnx`` is damaged, or isn't a network that upscales RGB pictures."""


class OutputError(InputError):
    """The output can't be written, or already exists and must not be replaced."""


class EngineError(SRQuantError, RuntimeError):
    """An inference engine is missing or can't run this network."""


class TrainingError(SRQuantError, RuntimeError):
    """A training run diverged or lost one of its processes; it can continue from its last checkpoint."""


def suggest(name: str, known: Iterable[str]) -> str:
    """The names most similar to a wrong name, as the end of an error message, e.g. ``did you mean 'mse'?``.

    Returns:
        The similar names, or all known names if none is similar.
    """
    choices = sorted(known)
    near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(repr(n) for n in near) + "?"
    return "known: " + ", ".join(choices)


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line; its type's name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def last_line(error: BaseException) -> str:
    """The same, the last line, which says what is wrong in messages of OpenVINO; at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]
