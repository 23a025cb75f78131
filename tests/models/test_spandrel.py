"""Unknown checkpoints go to spandrel; a stand-in with its interface shows how."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from srquant.errors import CheckpointError
from srquant.models.load import load_model


class Descriptor:
    def __init__(self, model, scale=2, input_channels=3):
        self.model, self.scale, self.input_channels = model, scale, input_channels
        self.architecture = SimpleNamespace(name="Other")


class Unsupported(Exception):
    pass


@pytest.fixture
def checkpoint(tmp_path):
    torch.save({"0.weight": torch.ones(12, 3, 1, 1), "0.bias": torch.zeros(12)}, tmp_path / "other.pt")
    return tmp_path / "other.pt"


@pytest.fixture
def stand_in(monkeypatch):
    def install(load):
        loader = SimpleNamespace(load_from_state_dict=load)
        module = SimpleNamespace(
            ModelLoader=lambda device: loader, ImageModelDescriptor=Descriptor, UnsupportedModelError=Unsupported
        )
        monkeypatch.setitem(sys.modules, "spandrel", module)

    return install


def restored(weights):
    model = nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2))
    model.load_state_dict(weights)
    return model


def test_network_is_wrapped(checkpoint, stand_in):
    stand_in(lambda weights: Descriptor(restored(weights)))
    network = load_model(checkpoint)
    assert (network.facts.architecture, network.facts.scale, network.facts.head) == ("custom", 2, ("0",))
    assert torch.equal(network(torch.ones(1, 3, 2, 2)), torch.full((1, 3, 4, 4), 3.0))
    assert not network.module.training


@pytest.mark.parametrize(
    ("descriptor", "scale", "message"),
    [({}, 4, "Other x2 is not an RGB upscaler x4"), ({"input_channels": 1}, None, "is not an RGB upscaler")],
)
def test_network_of_another_kind(descriptor, scale, message, checkpoint, stand_in):
    stand_in(lambda weights: Descriptor(restored(weights), **descriptor))
    with pytest.raises(CheckpointError, match=message):
        load_model(checkpoint, scale)


def test_network_that_nobody_knows(checkpoint, stand_in):
    def refuse(weights):
        raise Unsupported

    stand_in(refuse)
    with pytest.raises(CheckpointError, match="neither srquant nor spandrel"):
        load_model(checkpoint)


def test_without_spandrel(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r"0\.weight.*srquant\[spandrel\]"):
        load_model(checkpoint)
