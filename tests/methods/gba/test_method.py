"""GBA on a tiny network."""

import copy
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from srquant.data.calibration import CalibrationSet
from srquant.deploy.file.save_load import load, save
from srquant.deploy.frozen.freeze import freeze
from srquant.distillation.features import features_of
from srquant.distillation.lessons import recorded
from srquant.distillation.recipes import distillation
from srquant.errors import PolicyError
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.gba.bit_offsets import learnable_bits
from srquant.methods.gba.method import GBA, bit_gradients, quantize
from srquant.methods.options import configure
from srquant.methods.registry import METHODS
from srquant.models.load import build
from srquant.models.network import Network
from srquant.models.wrap import wrap
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.layers import QuantAdd, activation_quantizers, quant_layers
from srquant.upscale.engines.openvino_engine import OpenVINOEngine

STATIC = {"dan_stages": None}


class Gated(nn.Module):
    """Blocks whose gates multiply what they get by something that grows with it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.gates = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(3))
        self.last = nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(images)
        for gate in self.gates:
            y = gate(x)
            x = x + y * (torch.sigmoid(y) - 0.5) + x * y
        return nn.functional.pixel_shuffle(self.last(x), 2)


@pytest.fixture
def network() -> Network:
    return build("edsr", {"blocks": 3, "features": 4}).eval()


def bits_of(model: QuantizedModel) -> dict[str, tuple[int, int]]:
    layers = quant_layers(model.network).items()
    return {name: (layer.weight_quantizer.bits, layer.input_quantizer.bits) for name, layer in layers}


def bounds_of(network: Network, group: str) -> list[torch.Tensor]:
    if group == "activations":
        return [bound for quantizer in activation_quantizers(network).values() for bound in quantizer.parameters()]
    return [bound for layer in quant_layers(network).values() for bound in layer.weight_quantizer.parameters()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_defaults_are_four_bit_weights_and_mixed_activations():
    config = GBA()
    assert (config.mixed, config.largest, config.dan_stages, config.epochs, config.batch) == (
        "activations",
        1,
        (1, 2, 3),
        2,
        2,
    )
    assert (config.allocation_epochs, config.allocation_batch) == (2, 2)
    assert (config.learning_rate, config.allocation_rate, config.feature_weight) == (0.01, 0.1, 10.0)
    assert METHODS["gba"].attention == ("linear",)


@pytest.mark.parametrize(
    ("mixed", "of_weights", "of_activations"),
    [
        ("none", {4: 7}, {4: 7}),
        ("activations", {4: 7}, {3: 2, 4: 3, 5: 2}),
        ("weights", {3: 2, 4: 3, 5: 2}, {4: 7}),
        ("both", {3: 2, 4: 3, 5: 2}, {3: 2, 4: 3, 5: 2}),
    ],
)
def test_mixed_bits_have_the_mean_of_the_base(network, calibration, mixed, of_weights, of_activations):
    model = quantize(network, calibration, Policy(), GBA(mixed=mixed))
    bits = bits_of(model)
    ends = network.facts.ends
    assert {bits[name] for name in ends} == {(8, 8)}
    body = [bits[name] for name in bits if name not in ends]
    assert Counter(weight for weight, _ in body) == of_weights
    assert Counter(activation for _, activation in body) == of_activations
    assert bits == {name: (b.weight, b.activation) for name, b in resolve(network, model.policy).layers.items()}


@pytest.mark.parametrize("largest", [1, 2, 3])
def test_candidate_sets(network, calibration, largest):
    model = quantize(network, calibration, Policy(LayerBits(4, 5)), GBA(largest=largest, finetune=False))
    offsets = [activation - 5 for name, (_, activation) in bits_of(model).items() if name.startswith("body")]
    assert (min(offsets), max(offsets), sum(offsets)) == (-largest, largest, 0)


@pytest.mark.parametrize(
    ("mixed", "base", "largest"),
    [("activations", LayerBits(8, 2), 1), ("both", LayerBits(7, 4), 2), ("weights", LayerBits(3, 4), 2)],
)
def test_candidate_sets_that_leave_the_bits_are_refused(network, calibration, mixed, base, largest):
    with pytest.raises(PolicyError, match=f"{largest}.*2 to 8"):
        quantize(network, calibration, Policy(base), GBA(mixed=mixed, largest=largest))


def test_unmixed_bits_may_be_anything(network, calibration):
    assert quantize(network, calibration, Policy(LayerBits(8, 4)), GBA(finetune=False)).policy.base.weight == 8


def test_overrides_keep_their_bits_and_are_not_ranked(network, calibration):
    policy = Policy(overrides=(Override("body.0.*", LayerBits(6, 7)), Override("body.3", None)))
    model = quantize(network, calibration, policy, GBA(mixed="both", finetune=False))
    bits = bits_of(model)
    assert {bits["body.0.body.0"], bits["body.0.body.2"]} == {(6, 7)}
    assert "body.3" not in bits
    assert sum(bits[f"body.{i}.body.{j}"][1] - 4 for i in (1, 2) for j in (0, 2)) == 0


def test_nothing_to_choose(network, calibration):
    with pytest.raises(PolicyError, match="no layer's bits"):
        quantize(network, calibration, Policy(overrides=(Override("body.*", LayerBits(5, 5)),)), GBA())


def test_weights_stay_and_the_network_too(network, calibration):
    before = copy.deepcopy(network.state_dict())
    model = quantize(network, calibration, Policy(), GBA(mixed="both"))
    for name, layer in quant_layers(model.network).items():
        assert torch.equal(layer.weight, before[f"module.{name}.weight"])
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())


@pytest.mark.parametrize("mixed", ["activations", "both"])
def test_finetuning_moves_bounds_and_no_bits(network, calibration, mixed):
    found = quantize(network, calibration, Policy(), GBA(mixed=mixed, finetune=False))
    learned = quantize(network, calibration, Policy(), GBA(mixed=mixed))
    assert bits_of(found) == bits_of(learned)
    for group in ("activations", "weights"):
        assert not same(bounds_of(found.network, group), bounds_of(learned.network, group))


def test_bounds_before_finetuning_are_those_of_normalised_values(network, calibration):
    model = quantize(network, calibration, Policy(), GBA(finetune=False))
    assert {bound.item() for bound in bounds_of(model.network, "activations")} == {-1.0, 1.0}


@pytest.mark.parametrize("rates", ["absolute", "relative"])
def test_alternate_begins_with_weights(network, calibration, rates):
    found = quantize(network, calibration, Policy(), GBA(finetune=False, epochs=1))
    learned = quantize(network, calibration, Policy(), GBA(schedule="alternate", epochs=1, rates=rates))
    assert same(bounds_of(found.network, "activations"), bounds_of(learned.network, "activations"))
    assert not same(bounds_of(found.network, "weights"), bounds_of(learned.network, "weights"))


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [("together", [0.01, 0.009, 0.0081, 0.00729]), ("alternate", [0.01, 0.01, 0.009, 0.009])],
)
def test_rates_of_bounds_decay_with_each_pass_of_their_group(network, calibration, monkeypatch, schedule, rates):
    seen: list[float] = []
    monkeypatch.setattr(
        "srquant.methods.gba.method.train_pass",
        lambda student, lessons, optimizer, *_: seen.append(optimizer.param_groups[0]["lr"]),
    )
    quantize(network, calibration, Policy(), GBA(mixed="none", schedule=schedule, epochs=4))
    assert seen == pytest.approx(rates)


@pytest.mark.parametrize(
    ("stages", "dynamic"), [(None, False), ((), False), ((1, 2), False), ((3,), True), ((1, 2, 3), True)]
)
def test_stage_three_decides_whether_ranges_are_dynamic(network, calibration, stages, dynamic):
    model = quantize(network, calibration, Policy(), GBA(dan_stages=stages, finetune=False))
    layers = quant_layers(model.network).values()
    assert {isinstance(layer.input_quantizer, DANQuantizer) for layer in layers} == {dynamic}
    assert {layer.lattice is None for layer in layers} == {dynamic}


def test_ranges_of_smallest_error_fit_the_bits_that_were_allocated(network, calibration):
    found = quantize(network, calibration, Policy(), GBA(finetune=False, ranges="mse", **STATIC))
    plain = METHODS["mse"].quantize(network, calibration, found.policy, METHODS["mse"].config())
    assert {3, 4, 5} <= {activation for _, activation in bits_of(found).values()}
    assert same(bounds_of(found.network, "activations"), bounds_of(plain.network, "activations"))


@pytest.mark.parametrize("bits", [4, 8])
def test_errors_in_front_of_gates_stay_within_twice_the_calibrated_range(calibration, bits):
    """Features are 30 times too large: without limits each gate makes that more, with them the next layer clips."""
    network = wrap(Gated().eval(), 2, tail=("last",))
    policy = Policy(LayerBits(bits, bits))
    (crops,) = calibration.batches(4)
    largest = {}
    with torch.no_grad():
        normal = float(network(crops).abs().max())
        for limit in (None, 2.0):
            model = quantize(network, calibration, policy, GBA(mixed="none", finetune=False, dan_limit=limit))
            largest[limit] = float(freeze(model).network(30 * crops).abs().max())
    assert largest[None] > 1000 * normal
    assert largest[2.0] < 10 * normal


def test_the_picture_itself_is_never_clipped(network, calibration):
    config = GBA(mixed="none", finetune=False, dan_limit=2.0)
    layers = quant_layers(quantize(network, calibration, Policy(), config).network)
    assert {name for name, layer in layers.items() if layer.input_quantizer.limits is None} == set(network.facts.head)


def test_dan_is_switched_off_on_the_command_line():
    assert configure(GBA, ["dan_stages=none"]).dan_stages is None
    assert configure(GBA, ["dan_stages=3"]).dan_stages == (3,)


@pytest.mark.parametrize(
    "setting",
    [
        "dan_stages=4",
        "dan_limit=0.5",
        "largest=0",
        "epochs=0",
        "batch=0",
        "allocation_epochs=0",
        "allocation_batch=0",
        "mixed=all",
    ],
)
def test_impossible_options(setting):
    with pytest.raises(PolicyError, match=setting.partition("=")[0]):
        configure(GBA, [setting])


def test_dan_needs_one_grid_per_tensor(network, calibration):
    policy = Policy(activation_granularity="channel")
    with pytest.raises(PolicyError, match="no DAN"):
        quantize(network, calibration, policy, GBA())
    quantize(network, calibration, policy, GBA(finetune=False, **STATIC))


def test_gradients_are_means_over_the_lessons(network, calibration):
    """Of 2 lessons: by hand, with autograd, one after the other."""
    student = quantize(network, calibration, Policy(), GBA(mixed="none", finetune=False)).network
    for layer in quant_layers(student).values():
        layer.cached_weight = None
    quantizers = [layer.input_quantizer for layer in quant_layers(student).values()]
    with recorded(network, calibration.batches(2)) as lessons:
        found = bit_gradients(student, quantizers, lessons, GBA(), lambda: None)
        with learnable_bits(quantizers) as offsets, features_of(student) as features:
            for lesson in lessons:
                distillation(10 / 255)(student(lesson.images), features.take(), lesson).backward()
    assert found == pytest.approx([float(offset.grad) / 2 for offset in offsets], rel=1e-4)
    assert len({round(gradient, 12) for gradient in found}) == len(found)


def test_adam_learns_offsets_within_the_candidate_set(network, calibration):
    """At a rate of 1, offsets reach the ends of the set in the first step and change bits on the way."""
    config = GBA(mode="adam", allocation_rate=1.0, allocation_epochs=4, finetune=False)
    probed = quantize(network, calibration, Policy(), GBA(allocation_epochs=4, finetune=False))
    learned = quantize(network, calibration, Policy(), config)
    assert sum(activation for _, activation in bits_of(learned).values()) == sum(
        activation for _, activation in bits_of(probed).values()
    )
    assert {activation for _, activation in bits_of(learned).values()} == {3, 4, 5, 8}


def test_stages_report_in_order(network, calibration):
    seen: dict[str, tuple[int, int]] = {}
    quantize(
        network, calibration, Policy(), GBA(mixed="both"), lambda name, done, total: seen.update({name: (done, total)})
    )
    assert list(seen) == ["bits of activations", "bits of weights", "bounds, pass 1/2", "bounds, pass 2/2"]
    assert list(seen.values()) == [(4, 4), (4, 4), (2, 2), (2, 2)]


def test_stages_two_and_three_have_their_own_passes_and_batches(network, calibration):
    seen: dict[str, tuple[int, int]] = {}
    config = GBA(allocation_epochs=3, allocation_batch=1, epochs=1, batch=4)
    quantize(network, calibration, Policy(), config, lambda name, done, total: seen.update({name: (done, total)}))
    assert seen == {"bits of activations": (12, 12), "bounds, pass 1/1": (1, 1)}


@pytest.mark.parametrize(
    ("config", "times"),
    [
        (GBA(mixed="both"), 2),
        (GBA(mixed="both", epochs=1), 3),
        (GBA(mixed="both", allocation_batch=4), 4),
        (GBA(finetune=False), 2),
        (GBA(mixed="none", finetune=False), 0),
    ],
)
def test_the_float_network_runs_once_where_stages_share_their_batches(network, calibration, monkeypatch, config, times):
    """So many passes over the crops are recorded."""
    passes: list[int] = []
    batches = CalibrationSet.batches
    monkeypatch.setattr(CalibrationSet, "batches", lambda self, size, epoch=0: counted(batches(self, size, epoch)))

    def counted(crops):
        passes.append(1)
        yield from crops

    quantize(network, calibration, Policy(), config)
    assert len(passes) - 1 == times  # and one pass for the ranges of stage 1


@pytest.mark.parametrize("settings", [{}, STATIC])
def test_same_seed_gives_the_same_network(network, calibration, settings):
    first, second = (quantize(network, calibration, Policy(), GBA(mixed="both", **settings)) for _ in range(2))
    assert first.policy == second.policy
    for group in ("activations", "weights"):
        assert same(bounds_of(first.network, group), bounds_of(second.network, group))


@pytest.mark.parametrize("settings", [{}, STATIC])
def test_file_keeps_bits_and_picture(network, calibration, tmp_path: Path, settings):
    model = quantize(network, calibration, Policy(), GBA(mixed="both", epochs=1, **settings))
    frozen = freeze(model)
    save(frozen, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    images = torch.rand(1, 3, 12, 14)
    with torch.no_grad():
        assert torch.equal(loaded.network(images), model.network(images))
    assert loaded.policy == model.policy
    assert loaded.origin.options["dan_stages"] == ("1,2,3" if not settings else None)


def test_static_ranges_run_in_the_integer_engine_bit_for_bit(network, calibration):
    model = quantize(network, calibration, Policy(), GBA(mixed="both", epochs=1, **STATIC))
    images = torch.rand(1, 3, 24, 20)
    with torch.no_grad():
        expected = model.network(images).numpy()
    assert abs(OpenVINOEngine(freeze(model).network, threads=1)(images.numpy()) - expected).max() < 1e-5


def test_sums_on_a_grid_stay_static(network, calibration):
    model = quantize(network, calibration, Policy(skip_bits=8), GBA(epochs=1))
    sums = [module.quantizer for module in model.network.modules() if isinstance(module, QuantAdd)]
    assert sums
    assert not any(isinstance(quantizer, DANQuantizer) for quantizer in sums)
    images = torch.rand(1, 3, 12, 14)
    with torch.no_grad():
        assert torch.equal(freeze(model).network(images), model.network(images))


def test_attention_networks_have_their_linear_layers_quantized(calibration: CalibrationSet):
    network = build("swinir", {"depths": [2], "heads": 2, "features": 8, "hidden": 16}).eval()
    policy = Policy(kinds=METHODS["gba"].attention)
    model = quantize(network, calibration, policy, GBA(epochs=1))
    bits = bits_of(model)
    assert len(bits) == 8
    assert sum(activation for _, activation in bits.values()) == 8 * 4
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(freeze(model).network(images), model.network(images))
