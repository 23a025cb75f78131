"""The outlier-aware method: where it starts, what is learned when, and what each option does."""

import copy
from dataclasses import replace

import pytest
import torch

from srquant.data.calibration import CalibrationSet
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.features import features_of
from srquant.distillation.lessons import Lesson
from srquant.distillation.losses import normalised
from srquant.errors import PolicyError
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.outlier_aware.method import (
    OutlierAware,
    breakpoint_rule,
    calibrate,
    feature_deviations,
    groups,
    quantize,
    saft,
    saft_loss,
    sensitivity,
    sensitivity_loss,
    with_features,
)
from srquant.methods.ranges.minmax import MinMax
from srquant.methods.registry import METHODS
from srquant.models.load import build, load_model
from srquant.models.network import Network
from srquant.quantizers.layers import quant_layers
from srquant.quantizers.plq import PLQuantizer

W4A4 = Policy(LayerBits(4, 4))
PLQ = OutlierAware(finetune="none")


@pytest.fixture
def network():
    return build("edsr", {"blocks": 2, "features": 8}).eval()


def parameters(student):
    """Everything learnable by the name of its group."""
    found = {"weights": [], "ranges": [], "breakpoints": [], "floats": []}
    for name, parameter in student.named_parameters():
        kind = name.rsplit(".", 2)[-2:]
        group = {"breakpoint": "breakpoints", "lower": "ranges", "upper": "ranges"}.get(kind[1], "floats")
        found["weights" if kind == ["weight_quantizer", "upper"] else group].append(parameter.detach().clone())
    return found


def changed(before, after):
    return {
        group
        for group, values in before.items()
        if any(not torch.equal(a, b) for a, b in zip(values, after[group], strict=True))
    }


def test_starts_from_minmax_and_a_quantile(network, calibration):
    student = calibrate(network, calibration, W4A4, PLQ)
    seen = []
    layer = network.module.get_submodule("body.0.body.2")
    with layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])), torch.no_grad():
        network(next(calibration.batches(4)))
    grid = quant_layers(student)["body.0.body.2"].input_quantizer
    assert isinstance(grid, PLQuantizer)
    expected = seen[0].min(), seen[0].quantile(0.99), seen[0].max()
    for bound, value in zip((grid.lower, grid.breakpoint, grid.upper), expected, strict=True):
        torch.testing.assert_close(bound.detach(), value)
    assert grid.region_levels == (8, 8)


def test_breakpoint_is_a_quantile_of_signed_values():
    """Sorted: -9 1 2 3 4. Of the magnitudes it would be 4."""
    lower, upper = breakpoint_rule(0.75)(torch.tensor([[4.0, -9.0, 2.0, 1.0, 3.0]]), 16)
    assert lower.tolist() == upper.tolist() == [3.0]


def test_breakpoint_of_a_layer_whose_inputs_have_both_signs(network, calibration):
    seen = []
    layer = network.module.get_submodule("body.0.body.0")
    with layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])), torch.no_grad():
        network(next(calibration.batches(4)))
    grid = quant_layers(calibrate(network, calibration, W4A4, PLQ))["body.0.body.0"].input_quantizer
    assert seen[0].min() < 0 < seen[0].quantile(0.99) < seen[0].abs().quantile(0.99)
    torch.testing.assert_close(grid.breakpoint.detach(), seen[0].quantile(0.99))


def test_moving_average_over_batches(network, calibration, monkeypatch):
    monkeypatch.setattr("srquant.methods.outlier_aware.method.STATISTICS", 2)
    grid = quant_layers(calibrate(network, calibration, W4A4, PLQ))["body.0.body.2"].input_quantizer
    seen = []
    layer = network.module.get_submodule("body.0.body.2")
    with layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].quantile(0.99))), torch.no_grad():
        for batch in calibration.batches(2):
            network(batch)
    torch.testing.assert_close(grid.breakpoint.detach(), 0.9 * seen[0] + 0.1 * seen[1])


def test_eight_bits_stay_uniform(network, calibration):
    layers = quant_layers(calibrate(network, calibration, W4A4, PLQ))
    uniform = {name for name, layer in layers.items() if not isinstance(layer.input_quantizer, PLQuantizer)}
    assert uniform == network.facts.ends


def test_sensitivity_by_hand():
    stds = torch.tensor([10.0, 20.0, 60.0])
    torch.testing.assert_close(
        sensitivity(stds, "raw").double().log10(), torch.tensor([-21.715, -17.372, 0.0]).double(), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(sensitivity(stds, "scaled"), torch.softmax(torch.tensor([1 / 3, 2 / 3, 2.0]), 0))


@pytest.mark.parametrize("softmax", ["scaled", "raw"])
def test_sensitivities_are_shares(softmax):
    stds = 20 + torch.rand(7)
    assert sensitivity(stds, softmax).sum() == pytest.approx(1)
    torch.testing.assert_close(sensitivity(stds, "raw"), sensitivity(stds + 3, "raw"))


def test_deviations_of_blocks(network, calibration):
    seen = []
    block = network.module.get_submodule(network.facts.features[1])
    with block.register_forward_hook(lambda _, inputs, output: seen.append(output)), torch.no_grad():
        network(torch.cat(list(calibration.batches(4))))
    ours = feature_deviations(network, calibration.batches(3))
    assert ours.shape == (len(network.facts.features),)
    torch.testing.assert_close(ours[1], seen[0].flatten(1).std(1).mean())


@pytest.mark.parametrize(
    ("weights", "blocks", "least", "most"),
    [("edsr/edsr_r8f64_x2.pt", 8, 0.1225, 0.1280), ("edsr_like/rnet_r9f64_x4.pth", 9, 0.110, 0.114)],
)
def test_the_printed_softmax_is_nearly_uniform_in_published_networks(shared, weights, blocks, least, most):
    pictures = CalibrationSet(shared / "data/DIV2K_test_LR/LR_bicubic/X4", count=100, seed=0, patch=48)
    s = sensitivity(feature_deviations(load_model(shared / "weights" / weights), pictures.batches(16)), "raw")
    assert len(s) == blocks
    assert (s.min().item(), s.max().item()) == pytest.approx((least, most), abs=5e-4)


@pytest.mark.parametrize(
    ("weights", "layers", "least", "most"),
    [("edsr/edsr_r8f64_x2.pt", 20, 0.0, 1.0), ("edsr_like/rnet_r9f64_x4.pth", 22, 0.044, 0.050)],
)
def test_per_layer_the_picture_decides_it_in_published_networks(shared, weights, layers, least, most):
    """The last layer's output is the picture: in 0..255 in EDSR, where it gets all the weight, in 0..1 in rnet."""
    network = load_model(shared / "weights" / weights)
    pictures = CalibrationSet(shared / "data/DIV2K_test_LR/LR_bicubic/X4", count=32, seed=0, patch=48)
    layered = with_features(network, tuple(resolve(network, W4A4).layers))
    s = sensitivity(feature_deviations(layered, pictures.batches(16)), "raw")
    assert len(s) == layers
    assert s.argmax() == layers - 1
    assert (s.min().item(), s.max().item()) == pytest.approx((least, most), abs=1e-3)


def test_layers_as_printed_instead_of_blocks(network, calibration, monkeypatch):
    """Eq. 4 and 6 then have one term per quantized layer; its feature is the layer's output."""
    seen, inputs = [], next(calibration.batches(4))

    def note(student, lessons, optimizer, loss, *_):
        lesson = next(iter(lessons))
        with features_of(student) as features, torch.no_grad():
            student(lesson.images)
            seen.append((student.facts.features, features.take(), lesson.features))

    monkeypatch.setattr("srquant.methods.outlier_aware.method.train_pass", note)
    config = OutlierAware(features="layers", batch=4, epochs=1)
    student = calibrate(network, calibration, W4A4, config)
    saft(student, network, calibration, config, None)
    (names, ours, taught), layers = seen[0], quant_layers(student)
    assert names == tuple(layers)
    assert student.facts.features == network.facts.features == ("body.0", "body.1")
    outputs = dict.fromkeys(names)
    for name in names:
        with (
            network.module.get_submodule(name).register_forward_hook(
                lambda _, inputs, output, name=name: outputs.update({name: output})
            ),
            torch.no_grad(),
        ):
            network(inputs)
    assert [feature.shape for feature in ours] == [output.shape for output in outputs.values()]
    for feature, output in zip(taught, outputs.values(), strict=True):
        torch.testing.assert_close(feature, normalised(output), atol=1e-4, rtol=1e-2)


def test_sensitivities_of_layers_weight_their_distances(network, calibration):
    layered = with_features(network, ("body.0.body.0", "body.1.body.2"))
    deviations = feature_deviations(layered, calibration.batches(16))
    s = sensitivity(deviations, "raw")
    features = [torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0, 0.0]])]
    taught = [normalised(torch.tensor([[4.0, 3.0]])), normalised(torch.tensor([[0.0, 5.0]]))]
    picture = torch.full((1, 3, 4, 4), 0.5)
    loss = saft_loss(OutlierAware(), layered, calibration)(picture, features, Lesson(picture, picture, taught))
    assert loss.item() == pytest.approx(((s[0] * 0.08**0.5 + s[1] * 2**0.5) / 2).item(), rel=1e-4)
    equal = saft_loss(OutlierAware(finetune="vft"), layered, calibration)
    assert equal(picture, features, Lesson(picture, picture, taught)).item() == pytest.approx(
        (0.08**0.5 + 2**0.5) / 4, rel=1e-4
    )


@pytest.mark.parametrize("finetune", ["saft", "vft"])
def test_a_layer_that_runs_several_times_counts_each_time(calibration, finetune):
    """CARN-M runs one residual unit three times in each block."""
    network = build("carn", {"features": 8, "groups": 2, "shared": True, "scale": 2}).eval()
    config = OutlierAware(features="layers", finetune=finetune, epochs=1, batch=4)
    student = calibrate(network, calibration, W4A4, config)
    before = parameters(student)
    saft(student, network, calibration, config, None)
    assert changed(before, parameters(student)) == {"weights"}


def test_the_printed_softmax_is_the_default():
    assert (OutlierAware().softmax, OutlierAware().features) == ("raw", "blocks")


def test_sensitivity_loss_by_hand():
    student = [torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 2.0]])]
    teacher = [normalised(torch.tensor([[4.0, 3.0]])), normalised(torch.tensor([[0.0, 5.0]]))]
    distance = (2 * 0.2**2) ** 0.5
    loss = sensitivity_loss(student, teacher, torch.tensor([0.75, 0.25]))
    assert loss.item() == pytest.approx(0.75 * distance / 2, rel=1e-4)


def test_loss_is_five_times_the_error_in_grey_levels_plus_that_of_blocks(network, calibration):
    """Pictures 0.1 apart: 5 * 255 * 0.1 = 127.5. One block whose features are at right angles adds sqrt(2)."""
    one = Network(network.module, replace(network.facts, features=("body.0",)))
    blocks = [torch.tensor([[0.0, 3.0]])], [torch.tensor([[1.0, 0.0]])]
    picture = torch.full((1, 3, 4, 4), 0.5)
    loss = saft_loss(OutlierAware(), one, calibration)
    assert loss(picture + 0.1, [], Lesson(picture, picture, [])).item() == pytest.approx(127.5)
    assert loss(picture + 0.1, blocks[0], Lesson(picture, picture, blocks[1])).item() == pytest.approx(127.5 + 2**0.5)


@pytest.mark.parametrize("rates", ["absolute", "relative"])
def test_one_group_learns_per_epoch(network, calibration, rates):
    config = OutlierAware(batch=4, rates=rates, learning_rate=0.01)
    student = calibrate(network, calibration, W4A4, config)
    before = states = parameters(student)
    learned = []
    for epochs in range(1, 5):
        trained = copy.deepcopy(student)
        saft(trained, network, calibration, replace(config, epochs=epochs), None)
        after = parameters(trained)
        learned.append(changed(states, after))
        states = after
    assert learned == [{"weights"}, {"ranges"}, {"breakpoints"}, {"weights"}]
    assert "floats" not in changed(before, states)


def test_rates_decay_with_each_epoch_of_their_group(network, calibration, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "srquant.methods.outlier_aware.method.train_pass",
        lambda student, lessons, optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]),
    )
    config = OutlierAware(batch=4)
    saft(calibrate(network, calibration, W4A4, config), network, calibration, config, None)
    assert seen == pytest.approx([1e-3 * 0.9 ** (epoch // 3) for epoch in range(10)])


def test_relative_rates_follow_the_range(network, calibration):
    student = calibrate(network, calibration, W4A4, PLQ)
    weights, ranges, breakpoints = groups(student, replace(PLQ, rates="relative"))
    layer = quant_layers(student)["body.0.body.0"]
    grid = layer.input_quantizer
    by_parameter = {
        id(p): rate.learning_rate for group in (weights, ranges, breakpoints) for rate in group for p in rate.parameters
    }
    width = float(grid.upper.detach() - grid.lower.detach())
    assert by_parameter[id(grid.upper)] == by_parameter[id(grid.breakpoint)] == pytest.approx(1e-3 * width)
    assert by_parameter[id(layer.weight_quantizer.upper)] == pytest.approx(
        2e-3 * float(layer.weight_quantizer.upper.detach())
    )


@pytest.mark.parametrize("finetune", ["saft", "vft"])
@pytest.mark.parametrize("features", [("body.0", "body.1"), ()], ids=["blocks known", "blocks unknown"])
def test_learning_brings_the_picture_closer(network, calibration, finetune, features):
    network = Network(network.module, replace(network.facts, features=features))
    images = next(calibration.batches(4))
    config = OutlierAware(batch=1, epochs=6, learning_rate=0.01, rates="relative")
    errors = {}
    for choice in ("none", finetune):
        model = quantize(network, calibration, W4A4, replace(config, finetune=choice))
        with torch.no_grad():
            errors[choice] = (model.network(images) - network(images)).abs().mean()
    assert errors[finetune] < 0.95 * errors["none"]


def test_without_plq_and_finetuning_it_is_minmax(network, calibration):
    ours = quantize(network, calibration, W4A4, replace(PLQ, plq=False))
    minmax = METHODS["minmax"].quantize(network, calibration, W4A4, MinMax())
    images = next(calibration.batches(2))
    with torch.no_grad():
        assert torch.equal(ours.network(images), minmax.network(images))


def test_without_plq_two_groups_take_turns(network, calibration):
    config = OutlierAware(plq=False, batch=4, epochs=2)
    student = calibrate(network, calibration, W4A4, config)
    assert groups(student, config)[2] == []
    before = parameters(student)
    saft(student, network, calibration, config, None)
    assert changed(before, parameters(student)) == {"weights", "ranges"}


@pytest.mark.parametrize("levels", ["paper", "code"])
def test_frozen_network_is_the_one_that_was_learned(network, calibration, levels):
    model = quantize(network, calibration, W4A4, OutlierAware(levels=levels, epochs=3, batch=4))
    images = next(calibration.batches(2))
    with torch.no_grad():
        assert torch.equal(model.network(images), freeze(model).network(images))
    assert model.origin.method == "outlier-aware"
    assert model.origin.options["levels"] == levels


def test_two_bits_are_refused_with_advice(network, calibration):
    with pytest.raises(PolicyError, match=r"2 bits .*of 5 in all.*3 or more activation bits"):
        quantize(network, calibration, Policy(LayerBits(2, 2)), PLQ)
    with pytest.raises(PolicyError, match=r"2 bits .* layer 'tail.0.0' \(of 2 in all\)"):
        quantize(network, calibration, Policy(tail=LayerBits(2, 2)), PLQ)


def test_grids_per_channel_are_refused(network, calibration):
    with pytest.raises(PolicyError, match="plq=false"):
        quantize(network, calibration, Policy(activation_granularity="channel"), PLQ)


def test_progress_names_the_epochs(network, calibration):
    told = []
    quantize(network, calibration, W4A4, OutlierAware(epochs=2, batch=2), lambda *step: told.append(step))
    assert told == [("epoch 1/2", 1, 2), ("epoch 1/2", 2, 2), ("epoch 2/2", 1, 2), ("epoch 2/2", 2, 2)]
