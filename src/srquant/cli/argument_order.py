"""Arguments of ``srquant upscale`` in the wrong order: a picture where the model belongs, and the other way around."""

from collections.abc import Iterable
from pathlib import Path

from srquant.errors import InputError


def check_order(model: Path, sources: Iterable[str]) -> None:
    """Check, before anything is loaded, that a model and pictures are given in this order.

    Raises:
        InputError: they have changed places, or the model is a picture.
    """
    from srquant.models.checkpoint_file.file_kind import MODEL_SUFFIXES, picture_format
    from srquant.models.packaged import packaged_models

    picture = picture_format(model)
    if not model.is_dir() and picture is None:
        return
    for source in sources:
        if Path(source).suffix.lower() in MODEL_SUFFIXES or source in packaged_models():
            raise InputError(f"{model} is no model, but {source} is: give them in the order MODEL INPUT")
    if picture is not None:
        raise InputError(
            f"{model} is a picture ({picture}), not a PyTorch checkpoint; give the model first, then the pictures"
        )
