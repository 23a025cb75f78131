"""Load checkpoints of architectures that srquant doesn't know, with the optional package spandrel."""

from pathlib import Path

from srquant.errors import CheckpointError
from srquant.models.layout import Weights
from srquant.models.network import Network
from srquant.models.wrap import wrap


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
        from spandrel import ImageModelDescriptor, ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise CheckpointError(
            f"{path}: srquant doesn't know an architecture with weights of these names ({names}, ...); "
            "pip install 'srquant[spandrel]' for more architectures, or build the network and use srquant.wrap"
        ) from error
    try:
        found = ModelLoader(device="cpu").load_from_state_dict(weights)
    except UnsupportedModelError as error:
        raise CheckpointError(
            f"{path}: neither srquant nor spandrel knows an architecture with weights of these names ({names}, ...); "
            "build the network and use srquant.wrap"
        ) from error
    if not isinstance(found, ImageModelDescriptor) or found.input_channels != 3 or scale not in (None, found.scale):
        wanted = "an RGB upscaler" if scale is None else f"an RGB upscaler x{scale}"
        raise CheckpointError(f"{path}: {found.architecture.name} x{found.scale} is not {wanted}")
    return wrap(found.model, found.scale).eval()
