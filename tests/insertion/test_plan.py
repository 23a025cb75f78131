"""A policy resolved for one network."""

import pytest
from torch import nn

from srquant.data.calibration import CalibrationSet
from srquant.errors import PolicyError
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.insertion.residual_graph import LayerTracer
from srquant.methods.default_layer_kinds import default_layer_kinds
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.methods.trained_registry import TRAINED
from srquant.models.blocks.layers import Add
from srquant.models.load import build
from srquant.models.wrap import wrap

W4A4, W8A8, W3A8 = LayerBits(4, 4), LayerBits(8, 8), LayerBits(3, 8)
EVERYTHING = ("conv", "linear", "matmul")
QUICK = {
    "ptq4sr": ("iterations=1",),
    "adabm": ("epochs=1",),
    "2dquant": ("iterations=1", "batch=2", "crops=1"),
    "outlier-aware": ("epochs=1",),
    "gba": ("epochs=1", "mixed=both", "ranges=mse"),
    "distill": ("steps=1",),
}
"""Settings that shorten the learning; gba with all that changes bits on the way."""


@pytest.fixture
def swinir():
    return build("swinir", {"depths": [1], "heads": 2, "features": 8, "hidden": 16, "window": 4, "scale": 2}).eval()


@pytest.fixture
def traces(monkeypatch):
    """The modules that were traced so far."""
    traced, trace = [], LayerTracer.trace

    def counted(tracer, root, *arguments, **options):
        traced.append(root)
        return trace(tracer, root, *arguments, **options)

    monkeypatch.setattr(LayerTracer, "trace", counted)
    return traced


def test_edsr_with_sums_and_overrides(tiny):
    policy = Policy(skip_bits=8, overrides=(Override("body.1.*", W3A8), Override("tail.1", None)))
    plan = resolve(tiny("edsr"), policy)
    assert plan.policy is policy
    assert list(plan.layers.items()) == [
        ("head.0", W8A8),
        ("body.0.body.0", W4A4),
        ("body.0.body.2", W4A4),
        ("body.1.body.0", W3A8),
        ("body.1.body.2", W3A8),
        ("body.2", W4A4),
        ("tail.0.0", W8A8),
    ]
    assert plan.body == ("body.0.body.0", "body.0.body.2", "body.2")
    assert list(plan.sums.items()) == [("body.0.add", 8), ("body.1.add", 8), ("add", 8)]
    assert plan.read_sums == {"body.1.body.0": "body.0.add", "body.2": "body.1.add", "tail.0.0": "add"}
    assert plan.shared_grids() == {"body.1.body.0": "body.0.add", "tail.0.0": "add"}
    assert plan.rectified == set()
    assert plan.matmuls == {}


def test_addends_are_of_sums_inside_blocks(tiny):
    everything = resolve(tiny("edsr"), Policy())
    assert everything.addends == {"body.0.add": "body.0.body.0", "body.1.add": "body.1.body.0"}
    first_float = resolve(tiny("edsr"), Policy(overrides=(Override("body.0.body.0", None),)))
    assert first_float.addends == {"body.1.add": "body.1.body.0"}


def test_float_sums_are_not_in_the_plan(tiny):
    plan = resolve(tiny("rnet"), Policy())
    assert (plan.sums, plan.rectified, plan.read_sums, plan.shared_grids()) == ({}, set(), {}, {})


def test_rectified_sums(tiny):
    plan = resolve(tiny("rnet"), Policy(skip_bits=8))
    assert plan.rectified == {"blocks.0.add", "blocks.1.add"}
    assert plan.read_sums == {"blocks.1.body.0": "blocks.0.add", "upsample.up.body.0": "add"}


def test_sums_that_make_the_picture_stay_float(tiny):
    plan = resolve(tiny("msrresnet"), Policy(skip_bits=8))
    assert list(plan.sums) == ["body.0.add", "body.1.add"]


def test_attention(swinir):
    plan = resolve(swinir, Policy(LayerBits(4, 6), kinds=EVERYTHING))
    block = "layers.0.residual_group.blocks.0.attn"
    products = [name for name in plan.matmuls if name.startswith(f"{block}.")]
    assert len(plan.matmuls) == len(products) == 2
    assert set(plan.matmuls.values()) == {6}
    assert plan.layers[f"{block}.qkv"] == plan.layers[f"{block}.proj"] == LayerBits(4, 6)
    operands = [f"{name}.{side}" for name in products for side in ("left", "right")]
    assert list(plan.activations()) == [*plan.layers, *operands]
    assert {plan.activations()[name] for name in operands} == {6}


def test_kinds_of_layers(swinir):
    linear, products = (resolve(swinir, Policy(kinds=kinds)) for kinds in (("linear",), ("matmul",)))
    assert linear.matmuls == {}
    assert {type(swinir.module.get_submodule(name)) for name in linear.layers} == {nn.Linear}
    assert products.layers == {}
    assert len(products.matmuls) == 2


def test_activations_are_inputs_and_sums(tiny):
    plan = resolve(tiny("edsr"), Policy(LayerBits(4, 5), skip_bits=8))
    inputs = {name: bits.activation for name, bits in plan.layers.items()}
    assert plan.activations() == {**inputs, "body.0.add": 8, "body.1.add": 8, "add": 8}


def test_other_bits_are_those_of_the_policy_that_says_so(tiny):
    network = tiny("edsr")
    plan = resolve(network, Policy(skip_bits=8, overrides=(Override("body.0.*", W3A8),)))
    changed = plan.with_bits({"body.1.body.0": W3A8, "body.2": LayerBits(2, 5)})
    assert changed == resolve(network, changed.policy)
    assert changed.layers["body.2"] == LayerBits(2, 5)
    assert changed.body == ("body.1.body.2",)
    assert plan.shared_grids() == {"tail.0.0": "add"}
    assert changed.shared_grids() == {"body.1.body.0": "body.0.add", "tail.0.0": "add"}
    again = changed.with_bits({"body.2": LayerBits(2, 6)})
    assert [override.pattern for override in again.policy.overrides] == ["body.0.*", "body.1.body.0", "body.2"]
    assert again == resolve(network, again.policy)


class Branches(nn.Module):
    """Its order of computation depends on the picture, so that it can't be traced."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))
        self.add = Add()

    def forward(self, x):
        y = self.add(x, self.first(x)) if x.mean() > 0 else self.first(x)
        return self.last(self.second(y))


def test_networks_that_cannot_be_traced_share_no_grids():
    plan = resolve(wrap(Branches(), 1), Policy(base=W8A8, skip_bits=8))
    assert plan.sums == {"add": 8}
    assert plan.shared_grids() == {}
    assert plan.addends == {}


def test_the_graph_is_traced_once(tiny, traces):
    network = tiny("edsr")
    plan = resolve(network, Policy(skip_bits=8))
    plan.with_bits({"body.2": W3A8}).shared_grids()
    assert len(traces) == 1


@pytest.fixture
def calibration(smooth_pictures):
    return CalibrationSet(smooth_pictures(4, 20, 22), count=4, seed=0, patch=14)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_traces_the_graph_once(teacher, calibration, traces, name):
    method = METHODS[name]
    method.quantize(teacher, calibration, Policy(), configure(method.config, QUICK.get(name, ())))
    assert len(traces) == 1


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "float"])
def test_a_trained_method_traces_the_graph_once(teacher, pictures, traces, name):
    method = TRAINED[name]
    bits = 8 if name in ("cadyq", "cabm") else 4
    method.prepare(teacher, [pictures(2)], Policy(LayerBits(bits, bits)), method.config(), 4)
    assert len(traces) == 1


def test_patterns_are_checked_first(tiny, traces):
    policy = Policy(overrides=(Override("body.*", None), Override("nothing", W8A8)))
    with pytest.raises(PolicyError, match="pattern 'nothing' matches no layer"):
        resolve(tiny("edsr"), policy)
    assert traces == []


def test_nothing_left_to_quantize(swinir, tiny):
    with pytest.raises(PolicyError, match=r"all 5 convolutions .* kept float; .* quantize more than linear, or"):
        resolve(tiny("edsr"), Policy(kinds=("linear",)))
    with pytest.raises(PolicyError, match=r"all 5 convolutions .* kept float; .* quantize more than matmul, or"):
        resolve(tiny("edsr"), Policy(kinds=("matmul",)))
    short = wrap(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)), 1)
    with pytest.raises(PolicyError, match="it has no layer"):
        resolve(short, Policy())
    kept_float = Policy(kinds=EVERYTHING, overrides=(Override("layers.*", None), Override("conv_after_body", None)))
    assert resolve(swinir, kept_float).body == ()


def test_convolutions_inside_blocks_alone(swinir):
    plan = resolve(swinir, Policy(W4A4, None, None, kinds=("linear", "block-conv")))
    convolutions = [n for n in plan.layers if isinstance(swinir.module.get_submodule(n), nn.Conv2d)]
    assert convolutions == ["layers.0.conv"]
    assert len(plan.layers) == 1 + len(resolve(swinir, Policy(W4A4, None, None, kinds=("linear",))).layers)


def test_quantsr_quantizes_blocks_and_what_is_behind_them(tiny, swinir):
    """Default layers of QuantSR-C and QuantSR-T."""
    for network, behind in ((tiny("edsr"), ["body.2"]), (swinir, [])):
        kinds = default_layer_kinds(TRAINED["quantsr"], network)
        plan = resolve(network, Policy(W4A4, None, None, kinds=kinds))
        inside = tuple(f"{block}." for block in network.facts.blocks)
        assert [name for name in plan.layers if not name.startswith(inside)] == behind
        every = resolve(network, Policy(W4A4, None, None)).layers
        assert {name for name in every if name.startswith(inside)} <= plan.layers.keys()


def test_a_network_without_blocks_has_no_convolutions_inside_them(tiny):
    with pytest.raises(PolicyError, match="block-conv, or take another network"):
        resolve(tiny("rnet"), Policy(kinds=("block-conv",)))
