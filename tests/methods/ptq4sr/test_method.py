"""PTQ4SR on tensors and tiny networks."""

import pytest
import torch

from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.losses import attention_loss, attention_map, output_loss
from srquant.errors import PolicyError
from srquant.grids.range_rules import RunningBounds, minmax, squared_error, symmetric_max
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.ptq4sr.dual_clipping import BINS, dbdc, kept_bins
from srquant.methods.ptq4sr.lsq_gradients import scaled_gradients
from srquant.methods.ptq4sr.method import (
    PTQ4SR,
    density_based_dual_clipping,
    mean_of_batches,
    pixel_aware_calibration,
    quantize,
)
from srquant.models.load import build, load_model
from srquant.quantizers.layers import activation_quantizers, quant_layers

SHORT = {"iterations": 3}


@pytest.fixture
def network():
    return build("edsr", {"blocks": 1, "features": 6}).eval()


def bounds_of(student):
    layers = quant_layers(student).values()
    quantizers = [*activation_quantizers(student).values(), *(layer.weight_quantizer for layer in layers)]
    return [bound.detach().clone() for quantizer in quantizers for bound in quantizer.parameters()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_emptier_end_goes():
    assert kept_bins([1, 5, 9, 3], 0.0) == (0, 3)
    assert kept_bins([1, 5, 9, 3], 0.05) == (1, 3)
    assert kept_bins([1, 5, 9, 3], 0.15) == (1, 2)
    assert kept_bins([2, 9, 2], 0.1) == (0, 1)  # of equal ends the right one


@pytest.mark.parametrize("share", [5e-4, 1e-5, 0.02])
def test_mass_inside_bounds(share):
    rows = torch.randn(2, 200_000) * torch.tensor([[1.0], [5.0]])
    lower, upper = dbdc(share)(rows, 16)
    for row, low, high in zip(rows, lower, upper, strict=True):
        kept = ((row >= low) & (row <= high)).float().mean().item()
        bins = torch.histc(row, BINS, float(row.min()), float(row.max())) / len(row)
        assert 1 - share - bins.max().item() <= kept <= 1 - share + 1e-6


def test_values_with_one_tail_are_cut_on_that_side_only():
    rows = torch.empty(1, 200_000).exponential_()
    lower, upper = dbdc(5e-4)(rows, 16)
    assert lower.item() == rows.min().item()
    assert upper.item() < 0.9 * rows.max().item()


def test_constant_values_keep_their_bounds():
    lower, upper = dbdc(5e-4)(torch.full((1, 100), 2.0), 16)
    assert (lower.item(), upper.item()) == (2.0, 2.0)
    running = RunningBounds(dbdc(5e-4), 16, None)
    running.update(torch.full((1, 100), 2.0))
    lower, upper = running.bounds()
    assert lower.item() == 2.0
    assert 2.0 < upper.item() < 2.0001


@pytest.mark.parametrize("bits", range(2, 9))
def test_two_bounds_per_channel_lose_less(bits):
    weight = torch.randn(16, 72) * torch.rand(16, 1) + 0.02
    whole = weight.reshape(1, -1)
    per_channel = squared_error(weight, *minmax(weight, 2**bits), 2**bits).mean()
    assert per_channel < squared_error(whole, *symmetric_max(whole, 2**bits), 2**bits).mean()


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_published_weights_lose_less_with_two_bounds_per_channel(shared, bits):
    network = load_model(shared / "weights" / "edsr" / "edsr_r8f64_x2.pt")
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            rows = layer.weight.detach().flatten(1)
            whole = rows.reshape(1, -1)
            per_channel = squared_error(rows, *minmax(rows, 2**bits), 2**bits).mean()
            assert per_channel <= squared_error(whole, *symmetric_max(whole, 2**bits), 2**bits).mean()


def test_mean_of_one_batch_and_others():
    one, mean = (torch.tensor(0.0), torch.tensor(1.0)), (torch.tensor(3.0), torch.tensor(4.0))
    assert [b.item() for b in mean_of_batches(one, mean, 2)] == [2.0, 3.0]


def test_weights_as_the_policy_says_or_two_bounds_per_channel(network, calibration):
    symmetric = quantize(network, calibration, Policy(), PTQ4SR(pac=False))
    assert symmetric.policy == Policy()
    model = quantize(network, calibration, Policy(), PTQ4SR(pac=False, weights="per_channel"))
    assert (model.policy.granularity, model.policy.symmetric_weights) == ("channel", False)
    layer = quant_layers(model.network)["body.0.body.0"]
    assert layer.weight_quantizer.upper.shape == layer.weight_quantizer.lower.shape == (6, 1, 1, 1)


def test_attention_map_is_the_normalised_mean_square():
    feature = torch.tensor([[[[1.0, 2.0]], [[1.0, 0.0]]]])  # mean squares 1 and 2
    expected = torch.tensor([[[1.0, 2.0]]]) / 5**0.5
    torch.testing.assert_close(attention_map(feature), expected)
    torch.testing.assert_close(attention_map(7 * feature), expected)
    other = feature.flip(-1)
    expected = (attention_map(feature) - attention_map(other)).square().mean()
    assert attention_loss([feature, feature], [other, feature]).item() == pytest.approx(expected.item() / 2)


def test_gradients_are_scaled(network, calibration):
    student = density_based_dual_clipping(network, calibration, Policy(LayerBits(3, 3)), PTQ4SR())
    (images,) = calibration.batches(16)

    def gradients():
        student.zero_grad()
        student.requires_grad_(True)
        student(images).square().sum().backward()
        layer = quant_layers(student)["body.0.body.0"]
        return layer.input_quantizer.upper.grad.clone(), layer.weight_quantizer.upper.grad.clone()

    plain = gradients()
    with scaled_gradients(student, images):
        student.requires_grad_(False)
        scaled = gradients()
    for usual, small, numel in zip(plain, scaled, (4 * 6 * 16 * 16, 6 * 6 * 9), strict=True):
        torch.testing.assert_close(small, usual / (numel * 3) ** 0.5)
    assert same(gradients(), plain)


def test_without_a_rate_nothing_moves(network, calibration):
    student = density_based_dual_clipping(network, calibration, Policy(), PTQ4SR())
    before = bounds_of(student)
    still = PTQ4SR(activation_rate=(0.0, 0.0), weight_rate=(0.0, 0.0), **SHORT)
    pixel_aware_calibration(student, network, calibration, still, None)
    assert same(bounds_of(student), before)
    pixel_aware_calibration(student, network, calibration, PTQ4SR(**SHORT), None)
    assert not same(bounds_of(student), before)


def test_calibration_brings_the_picture_closer(network, calibration):
    student = density_based_dual_clipping(network, calibration, Policy(LayerBits(3, 3)), PTQ4SR())
    (images,) = calibration.batches(16)

    def error():
        with torch.no_grad():
            return float(output_loss(student(images), network(images)))

    before = error()
    pixel_aware_calibration(student, network, calibration, PTQ4SR(iterations=50, rates="relative"), None)
    assert error() < before


def test_activations_first_then_weights(network, calibration):
    told = []
    quantize(network, calibration, Policy(), PTQ4SR(**SHORT), lambda *step: told.append(step))
    assert told == [(f"PaC, {name}", i, 3) for name in ("activations", "weights") for i in (1, 2, 3)]


def test_attention_maps_teach_unless_their_gradient_is_cut(network, calibration):
    learned = []
    for settings in ({}, {"feature_gradient": False}, {"attention_weight": 0.0}):
        student = density_based_dual_clipping(network, calibration, Policy(), PTQ4SR())
        pixel_aware_calibration(student, network, calibration, PTQ4SR(**SHORT, rates="relative", **settings), None)
        learned.append(bounds_of(student))
    assert same(learned[1], learned[2])
    assert not same(learned[0], learned[1])


@pytest.mark.parametrize("weights", ["per_tensor", "per_channel"])
def test_file_gives_the_same_picture(network, calibration, tmp_path, weights):
    model = quantize(network, calibration, Policy(), PTQ4SR(weights=weights, **SHORT))
    save(freeze(model), tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    (images,) = calibration.batches(16)
    with torch.inference_mode():
        assert torch.equal(loaded.network(images), model.network(images))
    assert loaded.origin == model.origin


def test_two_rates_are_needed():
    with pytest.raises(PolicyError, match=r"activation_rate .*two rates"):
        PTQ4SR(activation_rate=(1e-3,))
