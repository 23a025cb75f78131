"""Parameter and layer counts of published networks."""

import json

import pytest
from torch import nn

from srquant.models.blocks.layers import Matmul
from srquant.models.load import ARCHITECTURES, build
from srquant.models.network import Network

EDSR_LARGE = {"blocks": 32, "features": 256, "res_scale": 0.1}


def parameters(network: Network) -> int:
    return sum(p.numel() for p in network.parameters())


def body_layers(network: Network, kind: type[nn.Module]) -> list[str]:
    edges = network.facts.ends
    return [n for n, m in network.module.named_modules() if isinstance(m, kind) and n not in edges]


@pytest.mark.parametrize(
    ("architecture", "arguments", "expected"),
    [
        ("edsr", {"scale": 2}, 1_369_859),
        ("edsr", {"scale": 3}, 1_554_499),
        ("edsr", {"scale": 4}, 1_517_571),
        ("edsr", EDSR_LARGE | {"scale": 2}, 40_729_603),
        ("edsr", EDSR_LARGE | {"scale": 3}, 43_680_003),
        ("edsr", EDSR_LARGE | {"scale": 4}, 43_089_923),
        ("srresnet", {"scale": 2}, 1_399_314),
        ("srresnet", {"scale": 4}, 1_546_771),
        ("msrresnet", {"scale": 4}, 1_517_571),
        ("rdn", {"scale": 2}, 22_123_395),
        ("rdn", {"scale": 4}, 22_271_107),
        ("carn", {"scale": 2}, 964_163),
        ("carn", {"scale": 4}, 1_111_875),
        ("swinir", {"scale": 2}, 910_152),
        ("swinir", {"scale": 3}, 918_267),
        ("swinir", {"scale": 4}, 929_628),
        ("rrdbnet", {}, 16_697_987),
    ],
)
def test_parameters_as_published(architecture, arguments, expected):
    assert parameters(build(architecture, arguments)) == expected


@pytest.mark.parametrize(("scale", "expected"), [(2, 877_752), (3, 885_867), (4, 897_228)])
def test_swinir_light_without_its_tables_of_relative_positions(scale, expected):
    network = build("swinir", {"scale": scale})
    tables = sum(p.numel() for name, p in network.named_parameters() if "relative_position_bias_table" in name)
    assert parameters(network) - tables == expected


def test_carn_with_three_upsamplers_as_published():
    single = {scale: build("carn", {"scale": scale}) for scale in (2, 3, 4)}
    trunk = parameters(single[2]) - sum(p.numel() for p in single[2].module.upsample.parameters())
    assert sum(parameters(network) for network in single.values()) - 2 * trunk == 1_591_939


@pytest.mark.parametrize(("architecture", "expected"), [("edsr", 33), ("srresnet", 33), ("rdn", 146), ("carn", 30)])
def test_convolutions_between_head_and_tail(architecture, expected):
    assert len(body_layers(build(architecture, {"scale": 4}), nn.Conv2d)) == expected


@pytest.mark.parametrize("architecture", ["edsr", "srresnet"])
def test_residual_blocks_hold_32_convolutions(architecture):
    blocks = nn.ModuleList([build(architecture, {}).module.body[i] for i in range(16)])
    assert sum(isinstance(m, nn.Conv2d) for m in blocks.modules()) == 32


def test_swinir_light_has_96_linears_and_48_products():
    network = build("swinir", {})
    assert len(body_layers(network, nn.Linear)) == 96
    assert len(body_layers(network, Matmul)) == 48


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_facts_name_modules_and_rebuild_the_network(architecture):
    network = build(architecture, {})
    facts = network.facts
    modules = dict(network.module.named_modules())
    assert set(facts.head + facts.tail + facts.features) <= modules.keys()
    assert all(isinstance(modules[n], nn.Conv2d) for n in facts.head + facts.tail)
    again = build(facts.architecture, json.loads(json.dumps(facts.arguments)))
    assert again.facts == facts
    assert again.module.state_dict().keys() == network.module.state_dict().keys()
