"""A quantized network and its float one in step."""

import pytest
import torch

from srquant.grids.range_rules import minmax
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.models.blocks.split_qkv import split_qkv
from srquant.models.load import build
from srquant.quantizers.layers import quant_layers
from srquant.weight_rounding.run_side_by_side import run_side_by_side

NETWORKS = {
    "edsr": ("edsr", {"blocks": 2, "features": 8}, Policy(LayerBits(4, 4), skip_bits=8)),
    "swinir": (
        "swinir",
        {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "window": 4, "scale": 2},
        Policy(LayerBits(4, 4), kinds=("linear", "matmul")),
    ),
}


def pair(name):
    architecture, fields, policy = NETWORKS[name]
    network = split_qkv(build(architecture, fields).eval())
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    plan = resolve(network, policy)
    bounds = activation_bounds(network, plan, [images], Collection(minmax, None))
    return network, insert_quantizers(network, plan, bounds, minmax), images


def inputs_by_layer(network, names, images):
    """What enters layers, by hooks."""
    seen = {}
    handles = [
        network.module.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: seen.__setitem__(name, inputs[0].clone())
        )
        for name in names
    ]
    with torch.no_grad():
        network(images)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", NETWORKS)
def test_each_half_is_the_network_by_itself(name):
    network, student, images = pair(name)
    layers = quant_layers(student)
    names = {id(layer): name for name, layer in layers.items()}
    floats = inputs_by_layer(network, layers, images)
    noisy = inputs_by_layer(student, layers, images)
    visited = []

    def visit(layer, x, quantized_x):
        assert not layer.training
        visited.append(names[id(layer)])
        torch.testing.assert_close(x, floats[visited[-1]])
        torch.testing.assert_close(quantized_x, noisy[visited[-1]])

    with torch.no_grad():
        before = student(images)
        run_side_by_side(student.train(), images, visit)
        assert torch.equal(student(images), before)
    assert sorted(visited) == sorted(layers)


def test_later_layers_see_what_a_visit_changed_and_the_float_half_does_not():
    _, student, images = pair("edsr")
    before, after = [], []

    def shift_the_first(layer, x, noisy):
        if not after:
            layer.layer.bias.add_(1)
        after.append((x, noisy))

    with torch.no_grad():
        run_side_by_side(student, images, lambda _, x, noisy: before.append((x, noisy)))
        run_side_by_side(student, images, shift_the_first)
    for (x, noisy), (same, changed) in zip(before[1:], after[1:], strict=True):
        assert torch.equal(x, same)
        assert not torch.equal(noisy, changed)
