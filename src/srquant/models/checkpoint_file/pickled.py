"""Files that ``torch.save`` wrote, read without running any code stored in them."""

import io
import threading
import warnings
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from srquant.errors import CheckpointError, first_line
from srquant.models.checkpoint_file.file_kind import ZIP, first_bytes, refuse_other_archives
from srquant.models.checkpoint_file.limits import check_archive, names_in
from srquant.models.checkpoint_file.safe_types import BESIDE, ODD, TENSORS

LEGACY_PICKLES = 5
"""Pickles at the start of a file of the form before PyTorch 1.6: two numbers, the machine, the content, its keys."""

STARTS = (ZIP, b"\x80")
"""First bytes of files that PyTorch writes: those of an archive, or of a pickle."""

ONE_AT_A_TIME = threading.Lock()
"""PyTorch keeps the names that a pickle may use in one list for the process."""


def read_pickle(path: Path) -> Any:
    """The content of a file that ``torch.save`` wrote; values beside the weights may be replaced by empty ones.

    Raises:
        CheckpointError: damaged, of another kind, too large for its size, or it could only be loaded by running code.
    """
    try:
        _refuse_names(path, set(_names(path)))
        with ONE_AT_A_TIME, warnings.catch_warnings(), torch.serialization.safe_globals(_stand_ins()):
            warnings.simplefilter("ignore")  # an unusual pickle is either read or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # for a damaged file zipfile, pickletools and torch raise many kinds of exceptions
        if not first_bytes(path, len(ZIP)).startswith(STARTS):
            raise CheckpointError(
                f"{path}: not a PyTorch checkpoint by its first bytes, nor safetensors; give a checkpoint (.pt, .pth, "
                ".safetensors)"
            ) from error
        raise CheckpointError(
            f"{path}: not a PyTorch checkpoint, or damaged or truncated ({first_line(error):.120}); copy the file again"
        ) from error


def _names(path: Path) -> Iterator[str]:
    """Full names of everything that a file asks the loader to call or to take."""
    if first_bytes(path, len(ZIP)) == ZIP:
        check_archive(path)
        refuse_other_archives(path)
        content = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl")
        yield from map(_of_today, names_in(io.BytesIO(content), path))
        return
    with path.open("rb") as file:
        for _ in range(LEGACY_PICKLES):
            yield from map(_of_today, names_in(file, path))


def _of_today(argument: str) -> str:
    """The full name that a pickle's ``module name``, which may be one of Python 2, has today."""
    module, _, name = argument.partition(" ")
    return ".".join(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))


def _refuse_names(path: Path, names: set[str]) -> None:
    refused = sorted(name for name in names if name not in BESIDE and not TENSORS.fullmatch(name))
    odd = {ODD[name.rpartition(".")[2]] for name in refused if name.rpartition(".")[2] in ODD}
    if odd:
        raise CheckpointError(
            f"{path} holds {', '.join(sorted(odd))}; save the state_dict() of the float network, on the CPU"
        )
    if refused:
        raise CheckpointError(
            f"{path}: refused, because loading it would run code: {', '.join(refused)}; "
            "if you trust the file, load it with PyTorch and save only its state_dict()"
        )


def _stand_ins() -> list[Any]:
    return [(stand_in, name) for name, stand_in in BESIDE.items()]
