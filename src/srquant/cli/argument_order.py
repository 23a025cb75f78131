"""Arguments in the wrong order: a picture where the model belongs, and a model where the picture belongs."""

from pathlib import Path

from srquant.errors import InputError


def check_order(model: Path, source: Path) -> None:
    """Check, before anything is loaded, that a model and pictures are given in this order.

    Raises:
        InputError: they have changed places.
    """
    from srquant.models.checkpoint_file.file_kind import MODEL_SUFFIXES, picture_format
    from srquant.models.packaged import packaged_models

    is_model = source.suffix.lower() in MODEL_SUFFIXES or str(source) in packaged_models()
    if is_model and (model.is_dir() or picture_format(model) is not None):
        raise InputError(f"{model} is no model, but {source} is: give them in the order MODEL INPUT")
