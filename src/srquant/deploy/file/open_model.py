"""Open a model file of either kind: a float checkpoint or a quantized file."""

from pathlib import Path

from srquant.deploy.file.save_load import is_quantized_file, load
from srquant.deploy.frozen.depth import at_depth
from srquant.deploy.frozen.freeze import FrozenModel
from srquant.errors import PolicyError, QuantizedFileError
from srquant.models.load import load_model
from srquant.models.network import Network
from srquant.models.packaged import find_model


def open_model(path: Path, scale: int | None = None, depth: int | None = None) -> Network | FrozenModel:
    """Open a checkpoint or a quantized file; the content of the file decides which it is.

    Args:
        path: the file, or the name of a packaged network.
        scale: the wanted scale; needed where a checkpoint holds several.
        depth: the wanted number of residual blocks, where a quantized file holds several depths; None for all blocks.

    Returns:
        A float network, or a frozen one with its policy and origin.

    Raises:
        CheckpointError: no such file, or as ``load_model``.
        QuantizedFileError: a quantized file that is damaged or of another scale.
        PolicyError: the network was not trained at this depth.
    """
    path = find_model(path)
    if not path.is_file() or not is_quantized_file(path):
        if depth is not None:
            raise PolicyError(f"{path}: a float network has one depth, not {depth}; leave the depth out")
        return load_model(path, scale)
    model = load(path)
    if scale not in (None, model.network.facts.scale):
        raise QuantizedFileError(f"{path}: upscales by {model.network.facts.scale}, not {scale}; leave the scale out")
    return model if depth is None else at_depth(model, depth)


def open_network(path: Path, scale: int | None = None, depth: int | None = None) -> Network:
    """The network of ``open_model``, float or frozen; same arguments and errors."""
    model = open_model(path, scale, depth)
    return model.network if isinstance(model, FrozenModel) else model
