import pytest
import torch

from srquant.classify import gba
from srquant.classify.gba import GBA, gradient_layers
from srquant.classify.gradient_layer import inputs_of_layers, insert_gradient_layers
from srquant.classify.resnet import folded
from srquant.errors import PolicyError
from srquant.grids.range_rules import squared_error
from srquant.insertion.policy import LayerBits
from srquant.methods.gba.bit_offsets import learnable_bits

BITS = LayerBits(4, 4)


@pytest.fixture
def low_bit(network, images):
    return {name: bits for name, bits in quantized(network, images).items() if name not in ("conv1", "fc")}


def quantized(network, images, **options):
    student = gba.quantize(network, images[:8], BITS, GBA(epochs=1, batch=4, **options))
    return {name: (layer.weights.bits, layer.inputs.bits) for name, layer in gradient_layers(student).items()}


def test_nineteen_layers_are_mixed_and_their_mean_is_the_base(low_bit):
    assert len(low_bit) == 19
    for kind in (0, 1):
        offsets = [bits[kind] - 4 for bits in low_bit.values()]
        assert sum(offsets) == 0
        assert set(offsets) == {-1, 0, 1}


def test_first_and_last_layers_have_eight_bits(network, images):
    bits = quantized(network, images)
    assert bits["conv1"] == bits["fc"] == (8, 8)


def test_activations_alone_leave_weights_at_the_base(network, images):
    bits = quantized(network, images, mixed="activations")
    assert {weight for name, (weight, _) in bits.items() if name not in ("conv1", "fc")} == {4}


def test_weights_are_those_of_the_checkpoint(network, images):
    student = gba.quantize(network, images[:8], BITS, GBA(epochs=1, batch=4))
    exact = folded(network)
    for name, layer in gradient_layers(student).items():
        assert torch.equal(layer.layer.weight, exact.get_parameter(f"{name}.weight"))


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("weights", ["tensor", "channel"])
def test_finetuning_brings_the_network_nearer_to_the_float_one(network, images, dynamic, weights):
    exact = folded(network)
    config = GBA(epochs=4, batch=4, dynamic=dynamic, weights=weights, learning_rate=0.0005)
    bounds = inputs_of_layers(exact, [images], 0.9)
    student = insert_gradient_layers(exact, BITS, bounds, weights, dynamic)
    before = gba.distance(student, exact, images, 10.0).detach()
    gba.finetune(student, exact, images, config, None)
    assert gba.distance(student, exact, images, 10.0).detach() < before


def test_gradients_of_bits_point_at_the_layer_with_the_larger_error(network, images):
    exact = folded(network)
    student = insert_gradient_layers(exact, BITS, inputs_of_layers(exact, [images], 0.9), "channel", False)
    layers = gradient_layers(student)
    with learnable_bits(layer.quantizer("activations") for layer in layers.values()) as offsets:
        gba.distance(student, exact, images, 10.0).backward()
    gradients = {name: float(offset.grad) for name, offset in zip(layers, offsets, strict=True)}
    assert sum(gradients.values()) < 0
    assert abs(gradients["conv1"]) < max(abs(g) for name, g in gradients.items() if name != "conv1")


def test_static_bounds_are_the_moving_average_of_min_and_max(network, images):
    bounds = inputs_of_layers(folded(network), [images[:12], images[12:]], 0.9)
    first, second = images[:12], images[12:]
    assert bounds["conv1"][0] == pytest.approx(float(0.9 * first.min() + 0.1 * second.min()), rel=1e-5)
    assert bounds["conv1"][1] == pytest.approx(float(0.9 * first.max() + 0.1 * second.max()), rel=1e-5)
    assert bounds["layer1.0.conv1"][0] >= 0


def test_weights_per_channel_have_smaller_errors(network):
    exact = folded(network)
    bounds = inputs_of_layers(exact, [torch.randn(2, 3, 24, 24)], 0.9)
    errors = []
    for granularity in ("tensor", "channel"):
        layer = gradient_layers(insert_gradient_layers(exact, BITS, bounds, granularity, False))["layer2.0.conv1"]
        rows = layer.layer.weight.flatten(1)
        lower, upper = (b.flatten().expand(len(rows)) for b in (layer.weights.lower, layer.weights.upper))
        errors.append(squared_error(rows, lower, upper, 16).mean())
    assert errors[1] < errors[0]


def test_too_few_bits_are_refused(network, images):
    with pytest.raises(PolicyError, match="below 2 bits"):
        gba.quantize(network, images, LayerBits(2, 2), GBA())
