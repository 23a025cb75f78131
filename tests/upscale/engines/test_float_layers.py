"""Engines name the layers that they don't compute in integers."""

import pytest
import torch
from torch import nn

from srquant.deploy.frozen.freeze import FrozenModel, freeze
from srquant.grids.range_rules import minmax
from srquant.insertion.branched_network import BranchedNetwork
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.models.network import Network
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import quant_layers
from srquant.upscale.engines.float_layers import quantized_layers_in_float
from srquant.upscale.engines.open_engine import open_engine

ENGINES = pytest.mark.parametrize("name", ["torch", "openvino", "onnxruntime"])


def convolutions(network: Network) -> set[str]:
    return {name for name, module in network.module.named_modules() if isinstance(module, nn.Conv2d)}


def frozen(network: Network, *dynamic: str) -> FrozenModel:
    """Everything at 4 bits but the head, which stays float; layers called in ``dynamic`` get dynamic ranges."""
    policy = Policy(LayerBits(4, 4), head=None)
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [torch.rand(2, 3, 16, 16)], Collection(minmax, None))
    student = insert_quantizers(network, plan, bounds, minmax)
    for name in dynamic:
        layer = quant_layers(student)[name]
        layer.input_quantizer = DANQuantizer(layer.input_quantizer.bits, 1)
        layer.input_quantizer.upper.data.fill_(0.93)
    settle(student)
    return freeze(QuantizedModel(student, policy, Origin("test")))


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_all_layers_of_a_float_network(network: Network, name: str) -> None:
    assert open_engine(name, network, 1).float_layers() == convolutions(network)


@ENGINES
def test_a_branched_network_reports_its_middle_branch(network: Network, name: str) -> None:
    engine = open_engine(name, BranchedNetwork((network,) * 3, torch.tensor([20.0, 60.0])), 1)
    assert engine.float_layers() == open_engine(name, network, 1).float_layers()


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_static_layers_are_integers_and_dynamic_ones_are_not(network: Network, name: str) -> None:
    model = frozen(network, "body.0.body.2", "body.0.body.0")
    engine = open_engine(name, model.network, 1)
    assert quantized_layers_in_float(engine, model) == ("body.0.body.0", "body.0.body.2")
