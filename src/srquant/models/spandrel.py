"""Load checkpoints of architectures that srquant doesn't know, with the optional package spandrel."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from srquant.errors import CheckpointError, first_line
from srquant.models.checkpoint_file.allocations import Allocations
from srquant.models.layout import Weights
from srquant.models.missing_operators import declare_missing_operators
from srquant.models.network import Network
from srquant.models.wrap import wrap


def import_spandrel() -> ModuleType:
    """The package spandrel, also beside a PyTorch for which the installed torchvision wasn't built.

    Raises:
        ImportError: it, or a package that it needs, isn't installed.
    """
    declare_missing_operators()
    return importlib.import_module("spandrel")


def load_with_spandrel(path: Path, weights: Weights, scale: int | None) -> Network:
    """Build and load a network with the optional package spandrel.

    Args:
        path: of the checkpoint, for error messages.
        weights: tensors by name.
        scale: the wanted scale, or None.

    Returns:
        A network of architecture ``custom`` in evaluation mode, which ``build`` can't build.

    Raises:
        CheckpointError: spandrel isn't installed, doesn't know the architecture, or the network isn't an RGB upscaler
            of that scale.
    """
    names = ", ".join(list(weights)[:3])
    try:
        spandrel = import_spandrel()
    except ImportError as error:
        raise CheckpointError(
            f"{path}: srquant doesn't know an architecture with weights of these names ({names}, ...); "
            "pip install 'srquant[spandrel]' for more architectures, or build the network and use srquant.wrap"
        ) from error
    try:
        with Allocations(weights):
            found = spandrel.ModelLoader(device="cpu").load_from_state_dict(weights)
    except spandrel.UnsupportedModelError as error:
        raise CheckpointError(
            f"{path}: neither srquant nor spandrel knows an architecture with weights of these names ({names}, ...); "
            "build the network and use srquant.wrap"
        ) from error
    except Exception as error:  # its architectures raise what PyTorch raises
        raise CheckpointError(f"{path}: spandrel can't load it ({first_line(error)}); use srquant.wrap") from error
    if (
        not isinstance(found, spandrel.ImageModelDescriptor)
        or found.input_channels != 3
        or scale not in (None, found.scale)
    ):
        wanted = "an RGB upscaler" if scale is None else f"an RGB upscaler x{scale}"
        raise CheckpointError(f"{path}: {found.architecture.name} x{found.scale} is not {wanted}")
    multiple_of = found.size_requirements.multiple_of
    return wrap(found.model, found.scale, multiple_of=multiple_of, smallest=smallest_of(found)).eval()


def smallest_of(found: Any) -> int:
    """Fewest rows and columns that a network of spandrel takes.

    spandrel doesn't say so of GRL, which reflects pictures up to a multiple of ``pad_size``, and fills up smaller ones
    in another way.
    """
    reflected: int = getattr(found.model, "pad_size", 0) // 2 + 1
    return max(int(found.size_requirements.minimum), reflected)
