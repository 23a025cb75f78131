"""L2B: sensitivities of layers, and the bits that follow from them."""

import math

import pytest
import torch

from srquant.methods.adabm.layer_to_bit import LayerToBit, first_layer_bits, layer_sensitivities


def bits_of(factor: float) -> int:
    layer_to_bit = LayerToBit()
    layer_to_bit.factor.data.fill_(factor)
    return int(layer_to_bit().item())


def test_layer_factors_are_clamped_and_rounded():
    assert [bits_of(m) for m in (-3.0, -0.51, -0.49, 0.0, 0.49, 0.51, 3.0)] == [
        -1,
        -1,
        0,
        0,
        0,
        1,
        1,
    ]


@pytest.mark.parametrize("count", [7, 10, 32, 33])
def test_three_layers_in_ten_start_low_and_three_high(count):
    sensitivities = torch.randperm(count).double()
    first = first_layer_bits(sensitivities, 0.3)
    for sign in (-1, 1):
        assert int((first == sign).sum()) in (math.floor(0.3 * count), math.ceil(0.3 * count))
    assert first.sum() == 0
    assert torch.equal(first[sensitivities.argsort()], first.sort().values)  # who varies least starts lowest


def test_sensitivities_are_deviations_of_each_sample(tiny):
    network = tiny("edsr")
    images = torch.rand(2, 3, 8, 8)
    with layer_sensitivities(network, ["head.0"]) as seen:
        network(images)
        network(images[:1])
    shifted = network.module.sub_mean(images * 255).flatten(1)
    assert seen["head.0"] == pytest.approx([float(shifted.std(1).mean()), float(shifted[0].std())])


def test_layers_at_the_quantiles_start_at_zero():
    assert first_layer_bits(torch.arange(11.0).double(), 0.3).tolist() == [-1] * 3 + [0] * 5 + [1] * 3


def test_sensitivities_are_watched_no_longer_than_asked(tiny):
    network = tiny("edsr")
    with layer_sensitivities(network, ["head.0"]) as seen:
        pass
    network(torch.rand(1, 3, 8, 8))
    assert seen == {"head.0": []}
