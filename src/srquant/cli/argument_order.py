"""Arguments in the wrong order: a picture or a folder where the model belongs, a model where pictures belong."""

from collections.abc import Iterable
from pathlib import Path

from srquant.errors import InputError


def check_order(model: Path, pictures: Iterable[str], order: str) -> None:
    """Check, before anything is loaded, that a model and pictures are given in their order.

    Args:
        model: what is given as the model.
        pictures: what is given as pictures or folders of them.
        order: how they are given.

    Raises:
        InputError: they have changed places, or the model is a picture, or one of several pictures is a model.
    """
    from srquant.models.checkpoint_file.file_kind import picture_format

    models, picture = [text for text in pictures if is_model(Path(text))], picture_format(model)
    if models and (model.is_dir() or picture is not None):
        raise InputError(f"{model} is no model, but {models[0]} is: give them in the order {order}")
    if picture is not None:
        raise InputError(f"{model} is a picture ({picture}), not a PyTorch checkpoint; give the model first: {order}")
    if models and Path(models[0]).exists():
        raise InputError(f"{models[0]} is a model, not a picture; give one model, then pictures: {order}")


def is_model(path: Path) -> bool:
    """Whether a path has the suffix of a model or the name of a packaged network, and is no picture all the same."""
    from srquant.models.checkpoint_file.file_kind import MODEL_SUFFIXES, picture_format
    from srquant.models.packaged import packaged_models

    if path.is_dir() or picture_format(path) is not None:
        return False
    return path.suffix.lower() in MODEL_SUFFIXES or (str(path) in packaged_models() and not path.exists())
