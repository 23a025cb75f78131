"""Bits by picture and layer: the grid of each, their gradients, bit-aware clipping, branches."""

import math

import pytest
import torch

from srquant.grids.picture_density import gradient_density
from srquant.grids.range_rules import squared_error
from srquant.grids.uniform import fake_quantize
from srquant.insertion.branched_network import BranchedNetwork, branches_of, representative
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.adabm.adaptive_bits import (
    AdaptiveNetwork,
    AdaptiveQuantizer,
    PictureBits,
    adaptive_quantizers,
    make_adaptive,
    mean_bits,
)
from srquant.methods.adabm.bit_aware_clipping import apply_bac, bac_bounds
from srquant.methods.adabm.branches import settle_branches
from srquant.methods.adabm.image_to_bit import ImageToBit
from srquant.quantizers.base import ActivationQuantizer
from srquant.quantizers.layers import quant_layers

BODY = ("body.0.body.0", "body.0.body.2", "body.1.body.0", "body.1.body.2", "body.2")


def quantizer(bits, layer=0.0, pictures=None, lower=-0.3, upper=1.1):
    made = AdaptiveQuantizer(ActivationQuantizer(torch.tensor(lower), torch.tensor(upper), bits), pictures)
    made.layer_to_bit.factor.data.fill_(layer)
    return made


@pytest.fixture
def adaptive(tiny, quantized, pictures):
    """Three kinds of pictures, layers that add -1, 0 and 1 in turn."""

    def make(architecture="edsr", bits=4):
        network = tiny(architecture)
        student = quantized(network, Policy(LayerBits(bits, bits)))
        state = PictureBits(torch.zeros(1))
        ends = network.facts.ends
        make_adaptive(student, [name for name in quant_layers(student) if name not in ends], state)
        for i, q in enumerate(adaptive_quantizers(student).values()):
            q.layer_to_bit.factor.data.fill_(i % 3 - 1)
        low, _, high = gradient_density(plain_to_busy(pictures)).sort().values
        return AdaptiveNetwork(student, ImageToBit(2 * low, high / 2), state)

    return make


def plain_to_busy(pictures):
    """Three pictures with little, more and much to see."""
    return pictures(3) * torch.tensor([0.1, 0.4, 1.0]).view(3, 1, 1, 1)


@pytest.mark.parametrize("layer", [-1, 0, 1])
@pytest.mark.parametrize("shape", [(3, 2, 5, 5), (6, 4, 5), (3, 4, 4, 5)], ids=["conv", "windows", "tokens"])
def test_each_picture_is_on_the_grid_of_its_bits(shape, layer):
    q = quantizer(4, layer, PictureBits(torch.tensor([-1.0, 0.0, 1.0])))
    x = torch.randn(shape)
    parts = shape[0] // 3
    for i, bits in enumerate([3 + layer, 4 + layer, 5 + layer]):
        rows = slice(i * parts, (i + 1) * parts)
        assert torch.equal(q(x)[rows], fake_quantize(x[rows], q.lower, q.upper, 2**bits))
        assert torch.equal(q(x)[rows], q.of_pictures(i - 1)(x[rows]))


def test_gradient_in_bits_is_that_of_the_rounding_error():
    pictures = PictureBits(torch.zeros(1, requires_grad=True))
    q = quantizer(2, 0.5, pictures, 0.0, 3.0)  # 0.5 rounds to the even 0
    x = torch.tensor([1.4]).view(1, 1, 1, 1)
    q(x).sum().backward()
    assert q(x).item() == 1
    assert pictures.bits.grad.item() == pytest.approx(0.36968, abs=1e-5)
    assert q.layer_to_bit.factor.grad.item() == pytest.approx(0.36968 / math.cosh(0.5) ** 2, abs=1e-5)


def test_bits_stay_between_2_and_8():
    assert [quantizer(2, -1).of_pictures(b).bits for b in (-1, 0, 1)] == [2, 2, 2]
    assert [quantizer(7, 1).of_pictures(b).bits for b in (-1, 0, 1)] == [7, 8, 8]
    assert quantizer(3, -1, PictureBits(torch.tensor([-1.0, 1.0]))).current_bits().tolist() == [2, 3]


def test_one_picture_of_a_batch_does_not_change_the_others(adaptive, pictures):
    network, images = adaptive(), plain_to_busy(pictures)
    network.requires_grad_(False)
    together = network(images)
    assert network.pictures.bits.tolist() == [-1, 0, 1]
    assert float(mean_bits(network)) == pytest.approx(4 - 1 / 5)  # layers add -1 0 1 -1 0
    alone = []
    for i, bits in enumerate((-1, 0, 1)):
        assert torch.allclose(network(images[i : i + 1])[0], together[i], atol=1e-6)
        assert float(mean_bits(network)) == pytest.approx(4 - 1 / 5 + bits)
        alone.append(float(mean_bits(network)))
    network(images[1:])
    assert float(mean_bits(network)) == pytest.approx((alone[1] + alone[2]) / 2)


@pytest.mark.parametrize(("bits", "smallest", "largest"), [(2, 0.01, 0.6), (8, 0.8, 1.0)])
def test_clipping_finds_the_factor_of_smallest_error(bits, smallest, largest):
    x = torch.randn(60_000)  # the search judges by all of them
    q = ActivationQuantizer(x.min(), x.max(), bits).requires_grad_(False)
    lower, upper = q.lower.clone(), q.upper.clone()
    with torch.no_grad():
        bac_bounds(q, x, 0.0)
    factor = float(q.upper / upper)
    assert float(q.lower / lower) == pytest.approx(factor)
    assert smallest <= factor <= largest
    rows = x.reshape(1, -1)
    errors = [
        float(squared_error(rows, e * lower.view(1), e * upper.view(1), 2**bits)) for e in torch.arange(1, 101) / 100
    ]
    assert float(squared_error(rows, q.lower.view(1), q.upper.view(1), 2**bits)) == pytest.approx(min(errors))


@pytest.mark.parametrize(("bits", "smallest", "largest"), [(2, 0.01, 0.6), (8, 0.8, 1.0)])
def test_clipping_that_judges_by_every_other_value_is_nearly_as_good(bits, smallest, largest):
    x = torch.randn(100_000)
    q = ActivationQuantizer(x.min(), x.max(), bits).requires_grad_(False)
    lower, upper = q.lower.clone(), q.upper.clone()
    bac_bounds(q, x, 0.0)
    assert smallest < float(q.upper / upper) < largest
    rows = x.reshape(1, -1)
    best = min(
        float(squared_error(rows, e * lower.view(1), e * upper.view(1), 2**bits)) for e in torch.arange(1, 101) / 100
    )
    assert float(squared_error(rows, q.lower.view(1), q.upper.view(1), 2**bits)) <= 1.05 * best


def test_clipping_half_way_and_at_the_bits_of_the_layer():
    x = torch.randn(20_000)
    full, half = (quantizer(4, -1, None, float(x.min()), float(x.max())).requires_grad_(False) for _ in range(2))
    plain = ActivationQuantizer(full.lower, full.upper, 3).requires_grad_(False)
    before = float(full.upper)
    with torch.no_grad():
        for q, kept in ((full, 0.0), (half, 0.5), (plain, 0.0)):
            bac_bounds(q, x, kept)
    assert float(full.upper) == float(plain.upper) < before
    assert float(half.upper) == pytest.approx((float(full.upper) + before) / 2)


def test_layers_are_clipped_on_inputs_with_the_error_of_those_before(adaptive, pictures):
    network = adaptive().requires_grad_(False)
    bounds = {name: float(layer.input_quantizer.upper) for name, layer in quant_layers(network).items()}
    images = plain_to_busy(pictures)
    apply_bac(network, images)
    layers = quant_layers(network)
    for name in BODY:
        assert float(layers[name].input_quantizer.upper) < bounds[name]
    assert all(float(layers[name].input_quantizer.upper) == bounds[name] for name in ("head.0", "tail.0.0", "tail.1"))
    inputs = []
    handle = layers["body.1.body.0"].register_forward_pre_hook(lambda _, x: inputs.append(x[0]))
    with torch.no_grad():
        network(images)
        handle.remove()
        q = layers["body.1.body.0"].input_quantizer
        again = quantizer(4, float(q.layer_to_bit())).requires_grad_(False)
        again.upper.fill_(bounds["body.1.body.0"])
        again.lower.copy_(q.lower * again.upper / q.upper)
        bac_bounds(again, inputs[0], 0.0)
    assert float(again.upper) == pytest.approx(float(q.upper))


@pytest.mark.parametrize("architecture", ["edsr", "carn", "compact"])
@pytest.mark.parametrize("bits", [4, 6])
def test_branches_differ_in_bits_alone_and_share_their_weights(adaptive, pictures, architecture, bits):
    network = adaptive(architecture, bits)
    settled = settle_branches(network.requires_grad_(False))
    assert isinstance(settled, BranchedNetwork)
    settled.requires_grad_(False)
    low, middle, high = map(quant_layers, branches_of(settled))
    names = set(adaptive_quantizers(network))
    for name in middle:
        assert low[name].layer.weight is middle[name].layer.weight is high[name].layer.weight
        widths = [branch[name].input_quantizer.bits for branch in (low, middle, high)]
        assert widths == ([widths[1] - 1, widths[1], widths[1] + 1] if name in names else [8, 8, 8])
        for branch in (low, middle, high):
            q, delta = branch[name].input_quantizer, branch[name].lattice
            steps = float(q.upper.double() - q.lower.double()) / (q.levels - 1) / delta
            assert name not in names or (steps == round(steps) and steps % 2 == 1)
            assert float(q.upper - q.lower) == pytest.approx(
                float(high[name].input_quantizer.upper - q.lower), abs=(q.levels - 1) * delta * 1.001
            )


def test_settled_branches_compute_nearly_what_was_learned(adaptive, pictures):
    network, images = adaptive(), plain_to_busy(pictures)
    with torch.no_grad():
        learned, branched = network(images), settle_branches(network).eval()
        settled, other = branched(images), branched.low(images)
    error, error_of_other = ((x - learned).abs().mean((1, 2, 3)) for x in (settled, other))
    assert bool((error[1:] < error_of_other[1:] / 3).all())
    assert torch.equal(settled[0], other[0])


def test_the_middle_branch_stands_for_all(adaptive):
    settled = settle_branches(adaptive())
    assert representative(settled).module is settled.module
    plain = representative(settled)
    assert representative(plain) is plain
    assert branches_of(plain) == [plain]


def test_layers_with_fixed_bits_below_8_count(tiny, quantized):
    student = quantized(tiny("edsr"), Policy(LayerBits(4, 4)))
    make_adaptive(student, BODY[:1], PictureBits(torch.tensor([0.0, 1.0, 1.0])))
    assert mean_bits(student).item() == pytest.approx((4 + 2 / 3 + 4 * 4) / 5)


def test_clipping_judges_by_all_samples():
    """On -f, -f/3, f/3, f: 0.3 alone asks for f = 0.9, 0.2 for 0.6, both for 0.75."""
    q = ActivationQuantizer(torch.tensor(-1.0), torch.tensor(1.0), 2).requires_grad_(False)
    bac_bounds(q, torch.tensor([0.3] * 100 + [0.2] * 100).view(2, 1, 10, 10), 0.0)
    assert (q.lower.item(), q.upper.item()) == pytest.approx((-0.75, 0.75))
