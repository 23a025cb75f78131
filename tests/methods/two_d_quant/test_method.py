"""2DQuant on tiny networks."""

import pytest
import torch
from torch import nn

from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.features import features_of
from srquant.distillation.lessons import lesson_of, recorded
from srquant.distillation.losses import feature_loss, output_loss
from srquant.grids.range_rules import minmax, squared_error
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.two_d_quant.dobi import dobi_by_sign, dobi_one_sided, dobi_two_sided, layers_after_gelu
from srquant.methods.two_d_quant.method import (
    TwoDQuant,
    dobi_stage,
    dqc_loss,
    dqc_stage,
    printed_feature_loss,
    quantize,
)
from srquant.models.blocks.split_qkv import split_qkv
from srquant.models.load import build, load_model
from srquant.quantizers.layers import QuantMatmul, activation_quantizers, quant_layers

ATTENTION = Policy(kinds=("linear", "matmul"), symmetric_weights=False)
SHORT = {"iterations": 4, "batch": 2}


def swinir():
    return build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16, "window": 4, "scale": 2}).eval()


def edsr():
    return build("edsr", {"blocks": 1, "features": 6}).eval()


def bounds_of(student):
    layers = quant_layers(student).values()
    quantizers = [*activation_quantizers(student).values(), *(layer.weight_quantizer for layer in layers)]
    return [bound.detach().clone() for quantizer in quantizers for bound in quantizer.parameters()]


def test_two_sided_search_of_normal_values():
    rows = torch.randn(1, 100_000)
    (low, high), (lowest, highest) = dobi_two_sided(rows, 16), minmax(rows, 16)
    step = (highest - lowest) / 200
    errors = torch.stack([squared_error(rows, lowest + i * step, highest - i * step, 16) for i in range(100)])
    best = int(errors.argmin())
    assert float((low - lowest) / step) == pytest.approx(best, abs=1.01)
    assert float((highest - high) / step) == pytest.approx(best, abs=1.01)
    assert float(squared_error(rows, low, high, 16)) < 0.8 * float(squared_error(rows, lowest, highest, 16))


def test_one_sided_search_of_exponential_values():
    rows = torch.empty(1, 100_000).exponential_()
    (low, high), (lowest, highest) = dobi_one_sided(rows, 16), minmax(rows, 16)
    errors = [float(squared_error(rows, lowest, highest * (100 - i) / 100 + lowest * i / 100, 16)) for i in range(100)]
    assert low.item() == rows.min().item()
    assert float((highest - high) / (highest - lowest)) == pytest.approx(errors.index(min(errors)) / 100, abs=0.0101)
    assert float(squared_error(rows, low, high, 16)) < min(errors) * 1.01


def test_the_sign_decides_row_by_row():
    rows = torch.randn(2, 5000)
    rows[1].abs_()
    bounds = [torch.stack(rule(rows, 8)) for rule in (dobi_by_sign, dobi_two_sided, dobi_one_sided)]
    assert torch.equal(bounds[0][:, 0], bounds[1][:, 0])
    assert torch.equal(bounds[0][:, 1], bounds[2][:, 1])


def test_constant_values_have_bounds():
    for rule in (dobi_by_sign, dobi_two_sided, dobi_one_sided):
        lower, upper = rule(torch.full((2, 50), 3.0), 16)
        assert bool((lower < upper).all())


def test_layers_behind_a_gelu_are_found():
    found = layers_after_gelu(swinir(), torch.rand(1, 3, 8, 8))
    assert found == {f"layers.0.residual_group.blocks.{i}.mlp.fc2" for i in range(2)}
    assert layers_after_gelu(edsr(), torch.rand(1, 3, 8, 8)) == set()


@pytest.mark.parametrize(("dobi", "kept"), [("paper", True), ("code", False)])
def test_values_with_one_tail_keep_their_lower_end(calibration, dobi, kept):
    """Attention map and input of the second layer of the MLP; the code moves both ends everywhere."""
    network = split_qkv(swinir())
    student = dobi_stage(network, calibration, ATTENTION, dobi)
    seen = {}
    for name in ("attn.av", "mlp.fc2"):
        module = network.module.get_submodule(f"layers.0.residual_group.blocks.0.{name}")
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0].min()}))
    with torch.no_grad():
        network(next(calibration.batches(32)))
    quantizers = activation_quantizers(student)
    for name, key in (("attn.av", "attn.av.left"), ("mlp.fc2", "mlp.fc2")):
        lower = quantizers[f"layers.0.residual_group.blocks.0.{key}"].lower
        assert torch.equal(lower.detach(), seen[name]) == kept


def test_counts_of_swinir_light(calibration):
    """Six layers and two matmuls in each of 24 blocks."""
    network = split_qkv(build("swinir", {"scale": 2}))
    student = dobi_stage(network, CalibrationSet(calibration.folder, 1, 0, 8), ATTENTION, "none")
    activations, layers = activation_quantizers(student), quant_layers(student)
    assert (len(layers), len(activations)) == (144, 240)
    assert all(isinstance(layer.layer, nn.Linear) for layer in layers.values())
    assert sum(isinstance(module, QuantMatmul) for module in student.modules()) == 48
    assert sum(bound.numel() for bound in bounds_of(student)) == 768


@pytest.mark.parametrize(("build_network", "policy"), [(edsr, Policy(symmetric_weights=False)), (swinir, ATTENTION)])
def test_only_bounds_learn(calibration, build_network, policy):
    network = split_qkv(build_network())
    student = dobi_stage(network, calibration, policy, "paper")
    fixed = {id(p): p.detach().clone() for p in student.parameters() if p.numel() > 1}
    before = bounds_of(student)
    learning = []

    def note(*_):
        if torch.is_grad_enabled():
            learning.append(sum(p.numel() for p in student.parameters() if p.requires_grad))

    student.register_forward_hook(note)
    dqc_stage(student, network, calibration, TwoDQuant(**SHORT), None)
    assert set(learning) == {2 * (len(activation_quantizers(student)) + len(quant_layers(student)))}
    assert all(torch.equal(p.detach(), fixed[id(p)]) for p in student.parameters() if id(p) in fixed)
    assert not any(torch.equal(a, b) for a, b in zip(before, bounds_of(student), strict=True))
    assert not any(p.requires_grad for p in student.parameters())


@pytest.mark.parametrize("loss", ["full", "output_only"])
def test_distillation_brings_the_picture_closer(calibration, loss):
    network = edsr()
    student = dobi_stage(network, calibration, Policy(LayerBits(3, 3), symmetric_weights=False), "paper")
    (images,) = calibration.batches(32)

    def error():
        with torch.no_grad():
            return float(output_loss(student(images), network(images)))

    before = error()
    learn = {"iterations": 200, "batch": 2, "rates": "relative", "learning_rate": 1e-3}
    dqc_stage(student, network, calibration, TwoDQuant(loss=loss, **learn), None)
    assert error() < before


@pytest.mark.parametrize(
    ("weights", "policy", "options"),
    [
        ("imdtn_swin/team09_imdtn_x4.pth", ATTENTION, {}),
        ("edsr/edsr_r8f64_x2.pt", Policy(symmetric_weights=False), {"rates": "relative", "learning_rate": 0.003}),
    ],
    ids=["imdtn, defaults", "edsr, relative rates"],
)
def test_distillation_of_published_networks_brings_the_picture_closer(shared, weights, policy, options):
    """200 steps; weights and biases stay those of the float network."""
    network = split_qkv(load_model(shared / "weights" / weights)).eval()
    crops = CalibrationSet(shared / "data" / "DIV2K_test_LR" / "LR_bicubic" / "X4", 8, 0, 12)
    student = dobi_stage(network, crops, policy, "paper")
    (images,) = crops.batches(8)

    def error():
        with torch.no_grad():
            return float(output_loss(student(images), network(images)))

    before, fixed = error(), {id(p): p.detach().clone() for p in student.parameters() if p.numel() > 1}
    dqc_stage(student, network, crops, TwoDQuant(iterations=200, batch=2, crops=1, **options), None)
    assert error() < before
    assert all(torch.equal(p.detach(), fixed[id(p)]) for p in student.parameters() if id(p) in fixed)
    for name, layer in quant_layers(student).items():
        assert torch.equal(layer.weight, network.module.get_submodule(name).weight)


def test_feature_loss_starts_at_half_the_output_loss_unless_weighted(calibration):
    network = edsr()
    student = dobi_stage(network, calibration, Policy(symmetric_weights=False), "paper")
    with recorded(network, calibration.batches(4)) as lessons:
        (lesson,) = lessons
    with torch.no_grad(), features_of(student) as features:
        output, taken = student(lesson.images), features.take()
        picture = float(output_loss(output, lesson.output))
        distance = float(feature_loss(taken, lesson.features)) * len(taken)
        totals = [
            float(dqc_loss(config, student, lesson)(output, taken, lesson))
            for config in (TwoDQuant(), TwoDQuant(feature_weight=5.0), TwoDQuant(loss="output_only"))
        ]
    assert totals == pytest.approx([1.5 * picture, picture + 5 * distance, picture], rel=1e-4)


def test_feature_loss_as_printed(calibration):
    """Eq. 5 by hand; lambda is 1 where it isn't given."""
    network = edsr()
    student = dobi_stage(network, calibration, Policy(LayerBits(2, 2), symmetric_weights=False), "paper")
    (images,) = calibration.batches(4)
    lesson = lesson_of(network, images)
    with torch.no_grad(), features_of(student) as features, features_of(network) as float_features:
        output, taken = student(lesson.images), features.take()
        network(lesson.images)
        expected = torch.zeros(len(output))
        for f, q in zip(float_features.take(), taken, strict=True):
            for n, (f_n, q_n) in enumerate(zip(f, q, strict=True)):
                expected[n] += (f_n / f_n.norm() - q_n / q_n.norm()).norm() / f_n.numel()
        assert printed_feature_loss(taken, lesson.features) == pytest.approx(float(expected.mean()), rel=1e-5)
        picture = float(output_loss(output, lesson.output))
        for weight, factor in ((None, 1.0), (100.0, 100.0)):
            loss = dqc_loss(TwoDQuant(loss="printed", feature_weight=weight), student, lesson)
            total = float(loss(output, taken, lesson))
            assert total == pytest.approx(picture + factor * float(expected.mean()), rel=1e-5)


def test_feature_loss_as_printed_is_next_to_nothing(shared):
    """Of the published EDSR after DOBI: 0.5 % of the output loss on two crops, 0.3 % on eight."""
    network = load_model(shared / "weights" / "edsr" / "edsr_r8f64_x2.pt").eval()
    crops = CalibrationSet(shared / "data" / "DIV2K_test_LR" / "LR_bicubic" / "X4", 2, 0, 48)
    student = dobi_stage(network, crops, Policy(symmetric_weights=False), "paper")
    (images,) = crops.batches(2)
    lesson = lesson_of(network, images)
    with torch.no_grad(), features_of(student) as features:
        output = output_loss(student(images), lesson.output)
        share = float(printed_feature_loss(features.take(), lesson.features) / output)
    print(f"L_F / L_O as printed: {share:.1e}")
    assert share == pytest.approx(0.0046, rel=0.1)


def test_fresh_crops_differ_in_every_step(calibration, monkeypatch):
    """The first lesson chooses lambda and is the first that is learned, as with recorded lessons."""
    network = edsr()
    student = dobi_stage(network, calibration, Policy(symmetric_weights=False), "paper")
    seen = []
    student.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone()))
    config = TwoDQuant(iterations=6, batch=3, crops=1, fresh=True)
    dqc_stage(student, network, calibration, config, None)
    first, *learned = seen
    assert torch.equal(first, learned[0])
    assert len(learned) == 6
    assert len({tuple(images.flatten().tolist()) for images in learned}) == 6


def test_fresh_and_recorded_crops_learn_the_same_where_none_is_repeated(calibration):
    """Recorded features are in half precision."""
    results = []
    for fresh in (False, True):
        torch.manual_seed(0)
        network = edsr()
        student = dobi_stage(network, calibration, Policy(symmetric_weights=False), "paper")
        dqc_stage(student, network, calibration, TwoDQuant(**SHORT, fresh=fresh), None)
        results.append(bounds_of(student))
    for recorded_bound, fresh_bound in zip(*results, strict=True):
        torch.testing.assert_close(recorded_bound, fresh_bound, rtol=1e-3, atol=1e-3)


def test_schedules_differ(calibration):
    def learned(schedule):
        network = edsr()
        student = dobi_stage(network, calibration, Policy(symmetric_weights=False), "paper")
        dqc_stage(student, network, calibration, TwoDQuant(schedule=schedule, **SHORT), None)
        return bounds_of(student)

    torch.manual_seed(0)
    falling = learned("cosine")
    torch.manual_seed(0)
    constant = learned("constant")
    assert not all(torch.equal(a, b) for a, b in zip(falling, constant, strict=True))


@pytest.mark.parametrize(("network", "policy"), [(edsr, Policy()), (swinir, ATTENTION)], ids=["edsr", "swinir"])
def test_file_gives_the_same_picture(calibration, tmp_path, network, policy):
    model = quantize(network(), calibration, policy, TwoDQuant(**SHORT))
    assert model.origin.method == "2dquant"
    assert not model.policy.symmetric_weights
    save(freeze(model), tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    (images,) = calibration.batches(32)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(images), model.network(images), rtol=0, atol=1e-5)
    assert loaded.origin == model.origin


def test_progress_counts_iterations(calibration):
    told = []
    quantize(edsr(), calibration, Policy(), TwoDQuant(**SHORT), lambda *step: told.append(step))
    assert told == [("DQC", i, 4) for i in range(1, 5)]
    told.clear()
    quantize(edsr(), calibration, Policy(), TwoDQuant(dqc=False), lambda *step: told.append(step))
    assert told == []


def test_four_bits_on_a_published_network(shared):
    """Searched bounds beat min-max; learning them helps further (order of the paper's ablation)."""
    network = load_model(shared / "weights" / "edsr" / "edsr_r8f64_x2.pt").eval()
    calibration = CalibrationSet(shared / "data" / "DIV2K_test_LR" / "LR_bicubic" / "X4", count=16, seed=0, patch=40)
    images = next(calibration.batches(16, epoch=99))
    learn = {"iterations": 24, "batch": 4, "rates": "relative", "learning_rate": 1e-3}
    with torch.inference_mode():
        exact = network(images)
    errors = []
    for config in (TwoDQuant(dobi="none", dqc=False), TwoDQuant(dqc=False), TwoDQuant(**learn)):
        model = quantize(network, calibration, Policy(), config)
        with torch.inference_mode():
            errors.append(float((model.network(images) - exact).square().mean()))
    assert errors[0] > errors[1] > errors[2]
