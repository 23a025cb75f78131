"""Checkpoints of networks that only spandrel knows."""

from pathlib import Path

from srquant.errors import CheckpointError
from srquant.models.layout import Weights
from srquant.models.network import Network
from srquant.models.wrap import wrap


def load_with_spandrel(path: Path, weights: Weights, scale: int | None) -> Network:
    """Build and load a network by means of the optional package spandrel.

    Args:
        path: where the weights are from, for messages.
        weights: tensors by name.
        scale: the wanted scale, or None.

    Returns:
        A ``custom`` network in evaluation mode; ``build`` can't make it again.

    Raises:
        CheckpointError: spandrel isn't installed, doesn't know the network, or it isn't an RGB upscaler of that scale.
    """
    names = ", ".join(list(weights)[:3])
    try:
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise CheckpointError(
            f"{path}: no network that srquant knows has its names ({names}, ...); "
            "pip install 'srquant[spandrel]' for more, or build the network and use srquant.models.wrap"
        ) from error
    try:
        found = ModelLoader(device="cpu").load_from_state_dict(weights)
    except UnsupportedModelError as error:
        raise CheckpointError(
            f"{path}: neither srquant nor spandrel knows a network with its names ({names}, ...); "
            "build the network and use srquant.models.wrap"
        ) from error
    if not isinstance(found, ImageModelDescriptor) or found.input_channels != 3 or scale not in (None, found.scale):
        wanted = "an RGB upscaler" if scale is None else f"an RGB upscaler x{scale}"
        raise CheckpointError(f"{path}: {found.architecture.name} x{found.scale} is not {wanted}")
    return wrap(found.model, found.scale).eval()
