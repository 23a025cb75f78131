"""Every method on a tiny network and a folder of small pictures."""

import copy

import pytest
import torch

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.errors import DatasetError, PolicyError
from srquant.grids.range_rules import mse, symmetric_max, symmetric_mse
from srquant.grids.uniform import codes
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.methods.ranges import minmax, percentile, tails
from srquant.methods.registry import METHODS
from srquant.models.load import build, load_model
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import QuantAdd, QuantConv2d

RANGE_METHODS = [METHODS[name] for name in ("minmax", "percentile", "mse", "tails")]
methods = pytest.mark.parametrize("method", RANGE_METHODS, ids=lambda method: method.name)
recipes = pytest.mark.parametrize("recipe", ["none", "together", "published"])


@pytest.fixture
def network():
    return build("edsr", {"blocks": 2, "features": 8}).eval()


def run(name, network, calibration, policy, finetune="none"):
    return METHODS[name].quantize(network, calibration, policy, METHODS[name].config(finetune=finetune))


def layers_of(network):
    return {n: m for n, m in network.module.named_modules() if isinstance(m, QuantConv2d | QuantAdd)}


def bounds_of(network):
    kinds = ActivationQuantizer | WeightQuantizer
    return [p.detach() for m in network.modules() if isinstance(m, kinds) for p in m.parameters()]


def test_names():
    assert all(method.name == name and method.summary for name, method in METHODS.items())


@methods
@recipes
def test_quantizes_by_the_policy_and_freezes_exactly(network, calibration, method, recipe):
    policy = Policy(LayerBits(3, 4), overrides=(Override("body.2", LayerBits(2, 5)), Override("tail.1", None)))
    float_state = copy.deepcopy(network.state_dict())
    model = run(method.name, network, calibration, policy, recipe)
    found = {n: (m.weight_quantizer.bits, m.input_quantizer.bits) for n, m in layers_of(model.network).items()}
    assert found == {name: (bits.weight, bits.activation) for name, bits in resolve(network, policy).layers.items()}
    assert model.policy == policy
    assert model.network.facts == network.facts
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in float_state.items())
    with torch.inference_mode():
        for images in calibration.batches(2):
            assert model.network(images).shape == (2, 3, 28, 28)
            assert torch.equal(model.network(images), freeze(model).network(images))


@methods
@recipes
@pytest.mark.parametrize("policy", [Policy(skip_bits=8), Policy(granularity="channel", symmetric_weights=False)])
def test_same_seed_gives_the_same_network(network, calibration, method, recipe, policy):
    first, second = (run(method.name, network, calibration, policy, recipe).network for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(bounds_of(first), bounds_of(second), strict=True))


@methods
def test_finetuning_changes_bounds(network, calibration, method):
    found = run(method.name, network, calibration, Policy()).network
    learned = run(method.name, network, calibration, Policy(), "together").network
    assert not all(torch.equal(a, b) for a, b in zip(bounds_of(found), bounds_of(learned), strict=True))


@methods
def test_weights_are_those_of_the_float_network(network, calibration, method):
    model = run(method.name, network, calibration, Policy(), "together")
    for name, layer in layers_of(model.network).items():
        assert torch.equal(layer.weight, network.module.get_submodule(name).weight)


@methods
def test_eight_bits_are_close_to_float(network, calibration, method):
    """A root mean square error of a hundredth of what the picture varies, except where the method clips pictures."""
    policy = Policy(LayerBits(8, 8), granularity="channel")
    with torch.inference_mode():
        (images,) = calibration.batches(4)
        exact = network(images)
        error = (run(method.name, network, calibration, policy).network(images) - exact).square().mean().sqrt()
    limit = 0.2 if method.name == "percentile" else 0.02
    assert float(error) < limit * float(exact.std())


@methods
@recipes
def test_origin_says_how(network, calibration, method, recipe):
    origin = run(method.name, network, calibration, Policy(), recipe).origin
    assert origin.method == method.name
    assert origin.calibration == calibration.fingerprint()
    assert origin.options["momentum"] == 0.9
    assert origin.options["finetune"] == recipe


@methods
def test_progress_is_told_in_finetuning_only(network, calibration, method):
    told = []
    for recipe in ("none", "weights"):
        config = method.config(finetune=recipe)
        method.quantize(network, calibration, Policy(), config, lambda *step: told.append(step))
    assert told == [(f"pass {n}/6", step, 2) for n in range(1, 7) for step in (1, 2)]


@methods
def test_pattern_without_match_is_refused(network, calibration, method):
    with pytest.raises(PolicyError, match="matches no layer"):
        run(method.name, network, calibration, Policy(overrides=(Override("nothing", None),)))


@methods
def test_missing_pictures_are_refused(network, tmp_path, method):
    with pytest.raises(DatasetError):
        run(method.name, network, CalibrationSet(tmp_path, count=1), Policy())


def test_minmax_bounds_are_those_of_the_pictures(network, calibration):
    """One batch of statistics; settling moves bounds by less than a thousandth."""
    layer = layers_of(run("minmax", network, calibration, Policy(LayerBits(4, 4))).network)["body.2"]
    (images,) = calibration.batches(16)
    seen = []
    network.module.body[2].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(images)
    expected = [seen[0].min(), seen[0].max()]
    grid = layer.input_quantizer
    for bound, value in zip((grid.lower.detach(), grid.upper.detach()), expected, strict=True):
        assert bound.item() == pytest.approx(value.item(), abs=1e-3 * (expected[1] - expected[0]).item())
    largest = layer.weight.detach().abs().max().item()
    assert layer.weight_quantizer.upper.detach().item() == pytest.approx(largest, rel=5e-3)


def test_mse_shrinks_the_largest_magnitude_of_weights(network, calibration):
    network.module.body[2].weight.data.abs_().mul_(network.module.body[2].weight > -0.05)  # one-sided weights
    layer = layers_of(run("mse", network, calibration, Policy(LayerBits(3, 4))).network)["body.2"]
    _, upper = symmetric_mse(layer.weight.detach().reshape(1, -1), 8)
    assert layer.weight_quantizer.upper.detach().item() == pytest.approx(upper.item(), rel=5e-3)


def test_percentile_of_weights_is_of_the_signed_values():
    rows = torch.linspace(-1, 3, 401).view(1, -1)
    lower, upper = percentile.weight_percentile(0.01)(rows, 16)
    assert upper.item() == pytest.approx(2.96, abs=1e-5)
    assert lower.item() == -upper.item()
    negative = torch.tensor([[-4.0, -1.0, -2.0]])
    assert [b.item() for b in percentile.weight_percentile(0.01)(negative, 16)] == [-4.0, 4.0]


@pytest.mark.parametrize(("levels", "clips"), [(16, True), (127, True), (255, False), (256, False)])
def test_percentile_may_leave_8_bits_alone(levels, clips):
    rows = torch.linspace(0, 1, 1001).view(1, -1)
    rule = percentile.below_8_bits(percentile.weight_percentile(0.01), symmetric_max)
    assert rule(rows, levels)[1].item() == pytest.approx(0.99 if clips else 1.0)


def test_percentile_keeps_the_colours_of_the_picture_if_told(network, calibration):
    grids = []
    for config in (percentile.Percentile(), percentile.Percentile(skip_8bit=True), METHODS["minmax"].config()):
        model = percentile if isinstance(config, percentile.Percentile) else METHODS["minmax"]
        layers = layers_of(model.quantize(network, calibration, Policy(), config).network)
        grids.append([float(layers[name].input_quantizer.upper.detach()) for name in ("head.0", "body.2")])
    assert grids[0][0] < grids[1][0] == grids[2][0]
    assert grids[0][1] == pytest.approx(grids[1][1], rel=1e-3)  # settling differs


@pytest.mark.parametrize(("levels", "clips_tails"), [(16, False), (64, False), (127, False), (128, True), (256, True)])
def test_tails_judge_many_levels_by_their_tails(levels, clips_tails):
    rows = torch.linspace(-1, 2, 100_001).view(1, -1)
    cut = 3 * tails.Tails().share
    bounds = [b.item() for b in tails.activation_tails(tails.Tails().share)(rows, levels)]
    expected = [-1 + cut, 2 - cut] if clips_tails else [b.item() for b in mse(rows, levels)]
    assert bounds == pytest.approx(expected, abs=1e-6)
    weights = [b.item() for b in tails.weight_tails(rows, levels)]
    assert weights == ([-2.0, 2.0] if clips_tails else [b.item() for b in symmetric_mse(rows, levels)])


def test_tails_keep_every_colour(network, calibration):
    """One grid per channel: the codes of an 8-bit picture are its pixels."""
    policy = Policy(LayerBits(8, 8), activation_granularity="channel")
    network = run("tails", network, calibration, policy).network
    grid = layers_of(network)["head.0"].input_quantizer
    pixels = torch.arange(256.0).view(256, 1, 1, 1).expand(256, 3, 1, 1)
    assert torch.equal(codes(network.module.sub_mean(pixels), grid.lower, grid.upper, grid.levels), pixels)


def test_published_network_ranks_the_methods_at_four_bits(shared, tmp_path):
    """Smallest squared error beats min-max, which beats percentiles, because they clip the picture's colours."""
    (weights,) = (shared / "weights").rglob("edsr_r8f64_x2.pt")
    network = load_model(weights).eval()
    calibration = CalibrationSet(shared / "data" / "Set5" / "LR_bicubic" / "X2", count=5, seed=0, patch=24)
    (images,) = calibration.batches(5, epoch=1)
    with torch.inference_mode():
        exact = network(images)
        errors = {
            name: float((run(name, network, calibration, Policy()).network(images) - exact).square().mean())
            for name in ("mse", "minmax", "percentile")
        }
    assert errors["mse"] < errors["minmax"] < errors["percentile"]


def test_minmax_weights_may_be_those_of_mse(network, calibration):
    found = [
        layers_of(METHODS[name].quantize(network, calibration, Policy(), config).network)["body.2"].weight_quantizer
        for name, config in (("minmax", minmax.MinMax(weights="omse")), ("mse", METHODS["mse"].config()))
    ]
    assert found[0].upper.item() == pytest.approx(found[1].upper.item(), rel=5e-3)
    assert (
        found[0].upper.item()
        < 0.99
        * layers_of(run("minmax", network, calibration, Policy()).network)["body.2"].weight_quantizer.upper.item()
    )


def test_smaller_batches_of_statistics_give_narrower_ranges(network, calibration):
    """The mean of extremes over single pictures lies inside the extremes of all."""
    widths = []
    for batch in (1, 16):
        found = minmax.quantize(network, calibration, Policy(), minmax.MinMax(batch=batch)).network
        grid = layers_of(found)["body.2"].input_quantizer
        widths.append((grid.upper - grid.lower).item())
    assert widths[0] < 0.99 * widths[1]
