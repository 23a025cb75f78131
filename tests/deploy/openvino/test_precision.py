import pytest
import torch
from torch import nn

from srquant.deploy.layer_precision import LayerPrecision
from srquant.deploy.openvino.model import to_openvino
from srquant.deploy.openvino.precision import layer_precisions
from srquant.models.load import build
from srquant.models.network import Facts, Network

EDSR = {"blocks": 1, "features": 16, "scale": 4}
LAYERS = ["head.0", "body.0.body.0", "body.0.body.2", "body.1", "tail.0.0", "tail.0.2", "tail.1"]


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_layer_is_int8_at_every_bit_width(freeze_directly, bits):
    network = freeze_directly(build("edsr", EDSR), bits, bits)
    precisions = layer_precisions(to_openvino(network, pair_saturation=False))
    assert precisions == [LayerPrecision(name, "int8") for name in LAYERS]


def test_float_layers_are_float32():
    precisions = layer_precisions(to_openvino(build("edsr", EDSR)))
    assert precisions == [LayerPrecision(name, "float32") for name in LAYERS]


def test_layers_that_would_saturate_are_reported_as_float32(freeze_directly):
    network = freeze_directly(build("edsr", EDSR), 8, 4)
    network.module.head = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1))
    precisions = {p.name: p.precision for p in layer_precisions(to_openvino(network, pair_saturation=True))}
    assert precisions == {name: "float32" if name == "head.0" else "int8" for name in LAYERS}


def test_float_linear_layers_are_reported():
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expand, self.reduce = nn.Linear(16, 32), nn.Linear(32, 16)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.reduce(self.expand(images).relu())

    network = Network(Mixer(), Facts("custom", 1, 1.0, (), ()))
    assert layer_precisions(to_openvino(network)) == [
        LayerPrecision("expand", "float32"),
        LayerPrecision("reduce", "float32"),
    ]
