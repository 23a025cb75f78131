"""Unknown checkpoints go to spandrel; a stand-in with its interface shows how."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from srquant.errors import CheckpointError
from srquant.models.load import build, load_model
from srquant.models.missing_operators import declare_missing_operators, missing_operator


class Descriptor:
    def __init__(self, model, scale=2, input_channels=3):
        self.model, self.scale, self.input_channels = model, scale, input_channels
        self.architecture = SimpleNamespace(name="Other")
        self.size_requirements = SimpleNamespace(minimum=8, multiple_of=4)


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
    assert (network.facts.smallest, network.facts.multiple_of) == (8, 4)
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


def test_names_of_a_known_layout_with_other_shapes_go_to_spandrel(tmp_path, stand_in):
    weights = build("edsr", {"blocks": 1, "features": 4}).module.state_dict()
    weights["tail.1.weight"] = weights["tail.1.weight"][:, :3]
    torch.save(weights, tmp_path / "edsr.pt")
    model = nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2))
    stand_in(lambda weights: Descriptor(model))
    assert load_model(tmp_path / "edsr.pt").module is model


def test_names_of_a_known_layout_that_spandrel_does_not_know_either(tmp_path, monkeypatch):
    weights = build("edsr", {"blocks": 1, "features": 4}).module.state_dict()
    weights["tail.1.weight"] = weights["tail.1.weight"][:, :3]
    torch.save(weights, tmp_path / "edsr.pt")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(CheckpointError, match=r"looks like edsr, but it has wrong shapes: tail\.1\.weight"):
        load_model(tmp_path / "edsr.pt")


def test_missing_operators_of_torchvision_are_declared(tmp_path, monkeypatch):
    """A stand-in that describes two operators of a library that isn't there, as PyPI's torchvision does."""
    (tmp_path / "torchvision").mkdir()
    for name in ("__init__", "described"):
        described = [f"@torch.library.register_fake('torchvision::{op}')\ndef f(*a): ..." for op in ("first", "second")]
        text = "\n".join(["import torch", *described]) if name == "described" else "from torchvision import described"
        (tmp_path / "torchvision" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("torchvision", "torchvision.described"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert missing_operator() == "first"
    for name in ("torchvision", "torchvision.described"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    declare_missing_operators()
    assert sys.modules["torchvision"].described.f
