"""Quantizers that need the pictures, and the networks that give them access."""

import pytest
import torch
from torch import Tensor, nn

from srquant.errors import QuantizedFileError
from srquant.grids.picture_edges import edge_score, mean_gradients
from srquant.models.network import Network
from srquant.quantizers.by_picture import (
    ConditionalNetwork,
    ConditionalQuantizer,
    ConditionalSpec,
    Pictures,
    conditional_quantizers,
    with_picture_access,
)
from srquant.quantizers.stored import Fields, Json, StoredTensors


class Doubled(ConditionalQuantizer):
    """Adds its own parameter, and keeps the pictures that it saw."""

    kind = "doubled"

    def __init__(self, bits: int) -> None:
        super().__init__(bits)
        self.offset = nn.Parameter(torch.tensor(0.5))

    def settings(self) -> dict[str, Json]:
        return {"bits": self.bits}

    def forward(self, x: Tensor) -> Tensor:
        self.saw = self.current.pictures
        return x + self.offset


class NeedsPictures(Doubled):
    needs_pictures = True


@pytest.fixture
def network(tiny):
    """The tiny network with a quantizer instead of its first convolution."""

    def make(quantizer: ConditionalQuantizer) -> Network:
        made = tiny("edsr")
        made.module.head.insert(0, quantizer)
        return made

    return make


def test_defaults_of_such_a_quantizer():
    quantizer = Doubled(5)
    assert (quantizer.bits, quantizer.candidates, quantizer.channels) == (5, (5,), None)
    assert (quantizer.static, quantizer.layer_pads, quantizer.needs_pictures) == (False, False, False)
    assert quantizer.code_source is quantizer
    bits = quantizer.chosen_bits(torch.zeros(3, 2, 4, 4))
    assert (bits.tolist(), bits.dtype) == ([5.0] * 3, torch.float32)


def test_measures_of_pictures():
    images = torch.rand(2, 3, 8, 9)
    pictures = Pictures(images)
    assert torch.equal(pictures.gradients, mean_gradients(images))
    assert torch.equal(pictures.edges, edge_score(images))
    assert pictures.edges is pictures.edges


def test_pictures_are_there_during_a_pass_only(network):
    quantizer = NeedsPictures(4)
    made = network(quantizer)
    aware = ConditionalNetwork(made.module, made.facts)
    images = torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        aware(images)
    assert torch.equal(quantizer.saw.images, images)
    assert quantizer.current is aware.current
    assert aware.current.pictures is None


def test_pictures_are_forgotten_after_an_error(network):
    made = network(NeedsPictures(4))
    aware = ConditionalNetwork(made.module, made.facts)
    with pytest.raises(RuntimeError):
        aware(torch.rand(1, 5, 8, 8))
    assert aware.current.pictures is None


def test_access_is_given_where_it_is_needed(network):
    plain, needing = network(Doubled(4)), network(NeedsPictures(4))
    assert with_picture_access(plain) is plain
    aware = with_picture_access(needing)
    assert isinstance(aware, ConditionalNetwork)
    assert aware.module is needing.module
    assert list(conditional_quantizers(aware.module)) == ["head.0"]
    needing.module.head.insert(1, Doubled(4))
    assert isinstance(with_picture_access(needing), ConditionalNetwork), "one of two needs them"


def test_a_spec_is_a_constant_copy():
    quantizer = Doubled(6).train()
    spec = quantizer.spec()
    assert (spec.kind, spec.bits, spec.static) == ("doubled", 6, False)
    assert spec.quantizer is not quantizer
    assert not spec.quantizer.training
    assert not spec.quantizer.offset.requires_grad
    assert quantizer.offset.requires_grad
    assert {key: value.item() for key, value in spec.tensors().items()} == {"quantizer.offset": 0.5}


class FiveChannels(Doubled):
    channels = 5


def read(kind, fields, channels):
    tensors = StoredTensors({"layer.quantizer.offset": torch.tensor(2.5)}, "layer.")
    return ConditionalSpec.reader(kind)(Fields("input of 'layer'", fields), tensors, channels)


@pytest.mark.parametrize(("kind", "channels"), [(Doubled, 3), (FiveChannels, 5), (FiveChannels, None)])
def test_a_quantizer_from_a_file(kind, channels):
    spec = read(kind, {"bits": 4, "settings": {"bits": 4}}, channels)
    assert (spec.bits, spec.settings()) == (4, {"bits": 4, "settings": {"bits": 4}})
    assert spec.quantizer(torch.ones(1)).item() == 3.5
    assert not spec.quantizer.offset.requires_grad


@pytest.mark.parametrize(
    ("kind", "fields", "channels", "message"),
    [
        (Doubled, {"bits": 5, "settings": {"bits": 4}}, 3, "doesn't fit its layer"),
        (Doubled, {"bits": 3, "settings": {"bits": 4}}, 3, "doesn't fit its layer"),
        (FiveChannels, {"bits": 4, "settings": {"bits": 4}}, 3, "doesn't fit its layer"),
        (Doubled, {"bits": 4, "settings": {"number": 4}}, 3, "settings of such a quantizer"),
    ],
)
def test_impossible_quantizers_of_a_file_are_refused(kind, fields, channels, message):
    with pytest.raises(QuantizedFileError, match=message):
        read(kind, fields, channels)
