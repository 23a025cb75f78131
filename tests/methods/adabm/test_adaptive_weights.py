"""AdaBM*: bits of weights by layer."""

from itertools import pairwise

import pytest
import torch

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.errors import PolicyError
from srquant.grids.range_rules import symmetric_mse
from srquant.insertion.branched_network import branches_of
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.adabm.adaptive_weights import (
    AdaptiveWeightQuantizer,
    adaptive_weights,
    first_weight_bits,
    make_weights_adaptive,
    weight_bits_above_base,
)
from srquant.methods.adabm.finetune import bit_loss, finetune
from srquant.methods.adabm.initialise import initialise
from srquant.methods.adabm.method import quantize
from srquant.methods.adabm.options import AdaBM
from srquant.models.load import build
from srquant.quantizers.base import WeightQuantizer
from srquant.quantizers.layers import quant_layers, quantized_weight

BOTH = AdaBM(mixed="both")
BODY = ["body.0.body.0", "body.0.body.2", "body.1.body.0", "body.1.body.2", "body.2"]


@pytest.fixture
def network():
    network = build("edsr", {"blocks": 2, "features": 6}).eval()
    with torch.no_grad():
        for factor, name in zip((1.0, 5.0, 3.0, 0.2, 2.0), BODY, strict=True):
            network.module.get_parameter(f"{name}.weight").mul_(factor)
    return network


def plain(bits=4, upper=1.0):
    return WeightQuantizer(-torch.tensor(upper), torch.tensor(upper), bits, symmetric=True)


def test_first_bits_follow_the_deviation_of_the_weights(network):
    assert first_weight_bits(network, BODY, 0.3) == dict(zip(BODY, (-1, 1, 1, -1, 0), strict=True))


@pytest.mark.parametrize("b_l", [-1, 0, 1])
def test_its_grid_is_that_of_base_bits_and_offset(b_l):
    quantizer, weight = AdaptiveWeightQuantizer(plain(4 + b_l), 4, b_l), torch.randn(200)
    expected = plain(4 + b_l)
    assert quantizer.levels == expected.levels
    assert quantizer.deployable(weight).bits == 4 + b_l
    assert torch.equal(quantizer(weight), expected(weight))
    assert torch.equal(quantizer.deployable(weight)(weight), expected(weight))
    quantizer.requires_grad_(False)
    assert torch.equal(quantizer(weight), expected(weight))
    assert torch.equal(
        quantizer.integer_weight(weight.view(10, 20)).codes, expected.integer_weight(weight.view(10, 20)).codes
    )


def test_bits_stay_within_2_to_8():
    assert [AdaptiveWeightQuantizer(plain(), base, b_l).levels for base, b_l in ((2, -1), (8, 1))] == [4, 255]


def test_its_bits_have_a_gradient_while_they_are_learned():
    quantizer, weight = AdaptiveWeightQuantizer(plain(), 4, 0), torch.rand(100)
    quantizer(weight).square().sum().backward()
    assert quantizer.layer_to_bit.factor.grad != 0


def test_first_bounds_have_the_smallest_error_at_the_layers_own_bits(network, calibration):
    student = initialise(network, calibration, resolve(network, Policy()), BOTH)
    layers = quant_layers(student)
    assert list(adaptive_weights(student)) == [f"module.{name}.weight_quantizer" for name in BODY]
    for name, levels in zip(BODY, (8, 32, 32, 8, 16), strict=True):
        quantizer = layers[name].weight_quantizer
        assert quantizer.levels == levels
        _, upper = symmetric_mse(layers[name].weight.detach().reshape(1, -1), levels)
        assert quantizer.upper.item() == upper.item()


def test_mean_bits_above_the_base_cost(network, calibration):
    student = initialise(network, calibration, resolve(network, Policy()), BOTH)
    student(next(calibration.batches(2)))
    without = bit_loss(student, 100) + 0
    assert weight_bits_above_base(student).item() == without.item() == 0
    for quantizer in list(adaptive_weights(student).values())[:4]:
        quantizer.layer_to_bit.factor.data.fill_(1.0)
    assert bit_loss(student, 100).item() == pytest.approx(4 / 5)
    bit_loss(student, 100).backward()
    assert all(quantizer.layer_to_bit.factor.grad > 0 for quantizer in adaptive_weights(student).values())
    assert weight_bits_above_base(network).item() == 0


def test_bits_learn_in_the_turn_of_bits_and_bounds_in_that_of_weights(network, calibration):
    states = []
    for epochs in range(4):
        student = initialise(network, calibration, resolve(network, Policy()), BOTH)
        finetune(student, network, calibration, 4, AdaBM(mixed="both", epochs=epochs), None)
        found = adaptive_weights(student).values()
        states.append([torch.stack([p(q).detach() for q in found]) for p in (lambda q: q.upper, factor)])
    moved = [[not torch.equal(a, b) for a, b in zip(*pair, strict=True)] for pair in pairwise(states)]
    assert moved == [[True, False], [False, False], [False, True]]


def factor(quantizer):
    return quantizer.layer_to_bit.factor


def test_a_bound_that_learns_sees_the_current_bits(network, calibration):
    """The turn of weights computes the gradient in a bound from the slope of its grid, which must have these levels."""
    student = initialise(network, calibration, resolve(network, Policy()), BOTH).requires_grad_(False)
    layer = quant_layers(student)[BODY[1]]
    layer.weight_quantizer.upper.requires_grad_(True)
    x = torch.rand(1, 6, 8, 8)
    cheap = torch.autograd.grad(layer(x).square().sum(), layer.weight_quantizer.upper)[0]
    layer.weight_quantizer.full_gradient = True
    assert layer.weight_quantizer.levels == 32
    assert cheap.item() == pytest.approx(
        torch.autograd.grad(layer(x).square().sum(), layer.weight_quantizer.upper)[0].item(), rel=1e-3
    )


@pytest.mark.parametrize("image_to_bit", [True, False])
def test_every_branch_of_the_file_has_the_bits_of_the_layers(network, calibration, tmp_path, image_to_bit):
    model = quantize(network, calibration, Policy(), AdaBM(image_to_bit, mixed="both", epochs=3))
    bits = {name: chosen.weight for name, chosen in resolve(network, model.policy).layers.items()}
    assert {bits[name] for name in BODY} == {3, 4, 5}
    for branch in branches_of(model.network):
        quantizers = {name: layer.weight_quantizer for name, layer in quant_layers(branch).items()}
        assert {name: quantizer.bits for name, quantizer in quantizers.items()} == bits
        assert not any(isinstance(quantizer, AdaptiveWeightQuantizer) for quantizer in quantizers.values())
    frozen = freeze(model)
    save(frozen, tmp_path / "model")
    images = next(calibration.batches(4))
    with torch.inference_mode():
        expected = model.network(images)
        assert torch.equal(frozen.network(images), expected)
        assert torch.equal(load(tmp_path / "model").network(images), expected)


def test_other_weights_keep_the_base_bits(network, calibration):
    student = initialise(network, calibration, resolve(network, Policy()), AdaBM(mixed="both", fixed=("body.2",)))
    assert not isinstance(quant_layers(student)["body.2"].weight_quantizer, AdaptiveWeightQuantizer)
    make_weights_adaptive(student, 4, {"body.2": 1})
    assert quantized_weight(quant_layers(student)["body.2"]).unique().numel() > 16


def test_what_cannot_be_mixed_is_refused(network, calibration):
    with pytest.raises(PolicyError, match="layer_to_bit=true"):
        quantize(network, calibration, Policy(), AdaBM(layer_to_bit=False, mixed="both"))
    with pytest.raises(PolicyError, match="1 to 3 bits at 2-bit weights"):
        quantize(network, calibration, Policy(LayerBits(2, 4)), BOTH)
