import pytest
import torch
from torch import nn

from srquant.grids.range_rules import minmax
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.blocks.split_qkv import split_qkv
from srquant.models.load import build
from srquant.models.network import Network
from srquant.quantizers.layers import activation_quantizers, quant_layers

SMALL = {
    "swinir": {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "scale": 2},
    "imdtn": {"features": 16, "hidden": 32},
    "dat": {"depths": [3], "heads": 2, "features": 16, "hidden": 16, "window": [2, 4]},
}


def shaken(network: Network) -> Network:
    """With parameters that are not zero."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return network


@pytest.mark.parametrize("architecture", SMALL)
@torch.no_grad()
def test_three_layers_compute_what_one_did(architecture):
    network = shaken(build(architecture, SMALL[architecture]))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    split, images = split_qkv(network), torch.rand(2, 3, 19, 17)
    assert (split(images) - network(images)).abs().max() < 1e-5
    assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())
    assert split.facts.arguments["split_qkv"] is True
    assert build(architecture, split.facts.arguments).module.state_dict().keys() == split.module.state_dict().keys()


def test_networks_without_fused_attention_are_returned():
    for network in (build("edsr", {"blocks": 1, "features": 8}), build("imdtn", SMALL["imdtn"] | {"split_qkv": True})):
        assert split_qkv(network) is network


def test_swinir_light_has_384_quantizers():
    """144 linear layers with two each and 48 products with two each (2DQuant section 3.1)."""
    network = split_qkv(build("swinir", {}))
    policy = Policy(LayerBits(4, 4), kinds=("linear", "matmul"))
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [torch.rand(1, 3, 8, 8)], Collection(minmax, None))
    quantized = insert_quantizers(network, plan, bounds, minmax)
    assert sum(isinstance(module, nn.Linear) for module in network.modules()) == len(quant_layers(quantized)) == 144
    assert len(activation_quantizers(quantized)) == 240
    assert sum(p.numel() for n, p in quantized.named_parameters() if n.endswith((".lower", ".upper"))) == 2 * 240 + 144
