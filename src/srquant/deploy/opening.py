"""Open a model file of either kind: a float checkpoint or a quantized file."""

from pathlib import Path

from srquant.deploy.file import is_quantized_file, load
from srquant.deploy.freeze import FrozenModel
from srquant.errors import QuantizedFileError
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.models.packaged import find_model


def open_model(path: Path, scale: int | None = None) -> Network | FrozenModel:
    """Open a checkpoint or a quantized file, told by its content.

    Args:
        path: the file, or the name of a packaged network.
        scale: the wanted scale; needed where a checkpoint holds several.

    Returns:
        A float network, or a frozen one with its policy and origin.

    Raises:
        CheckpointError: no such file, or as ``load_model``.
        QuantizedFileError: a quantized file that is damaged or of another scale.
    """
    path = find_model(path)
    if not path.is_file() or not is_quantized_file(path):
        return load_model(path, scale)
    model = load(path)
    if scale not in (None, model.network.facts.scale):
        raise QuantizedFileError(f"{path}: upscales by {model.network.facts.scale}, not {scale}; leave the scale out")
    return model


def open_network(path: Path, scale: int | None = None) -> Network:
    """The network of ``open_model``, float or frozen; same arguments and errors."""
    model = open_model(path, scale)
    return model.network if isinstance(model, FrozenModel) else model
