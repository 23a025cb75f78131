"""A tiny network's weights, and what is refused of files."""

from pathlib import Path

import pytest

from srquant.errors import CheckpointError
from srquant.models.load import build, load_model


@pytest.fixture
def network():
    return build("edsr", {"blocks": 1, "features": 4})


@pytest.fixture
def weights(network):
    return network.module.state_dict()


@pytest.fixture
def complaint():
    """The message with which a file is refused; it begins with the file's path."""

    def message(path: Path) -> str:
        with pytest.raises(CheckpointError) as caught:
            load_model(path)
        text = str(caught.value)
        assert text.startswith(str(path))
        assert "\n" not in text
        return text.removeprefix(str(path)).lstrip(": ")

    return message
