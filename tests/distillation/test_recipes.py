"""Finetuning of bounds."""

import copy
import dataclasses
from collections import Counter

import pytest
import torch

from srquant.distillation.features import features_of
from srquant.distillation.loop import NARROWEST, rate_of, train_pass
from srquant.distillation.losses import feature_loss, normalised, output_loss, root_mean_square
from srquant.distillation.recipes import RECIPES, Finetune, Stage, finetune, published, squares, together
from srquant.errors import PolicyError
from srquant.insertion.policy import LayerBits, Policy
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import QuantAdd

BOTH = ("activations", "weights")
POLICIES = {
    "W4A4": Policy(),
    "W2A2": Policy(LayerBits(2, 2)),
    "per channel": Policy(granularity="channel", activation_granularity="channel"),
    "two bounds": Policy(symmetric_weights=False),
    "8-bit skip": Policy(LayerBits(4, 8), skip_bits=8),
}
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


def once(learning_rate, groups=BOTH):
    return Finetune((Stage(groups, learning_rate),))


def quantizers(network, kinds=(ActivationQuantizer, WeightQuantizer)):
    return {name: module for name, module in network.named_modules() if isinstance(module, kinds)}


def state(network, kinds):
    return {f"{n}.{k}": v.clone() for n, m in quantizers(network, kinds).items() for k, v in m.state_dict().items()}


def same(a, b):
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


def calibration_loss(student, teacher, images, feature_weight=0.2):
    with torch.no_grad(), features_of(student) as ours, features_of(teacher) as theirs:
        loss = output_loss(student(images), teacher(images))
        return (loss + feature_weight * feature_loss(ours.take(), [normalised(f) for f in theirs.take()])).item()


@policies
def test_loss_falls(student, teacher, calibration, policy):
    base = LayerBits(policy.base.weight, min(policy.base.activation, 4))  # at 8 bits min-max leaves nothing to learn
    network = student(dataclasses.replace(policy, base=base))
    (images,) = calibration.batches(5)
    before = calibration_loss(network, teacher, images)
    finetune(network, teacher, calibration, together())
    assert calibration_loss(network, teacher, images) < before


def test_squares_make_the_squared_error_smaller(student, teacher, calibration):
    network = student(Policy(LayerBits(4, 4)))
    images = next(calibration.batches(8))
    before = root_mean_square(network(images), teacher(images))
    finetune(network, teacher, calibration, squares(passes=8))
    assert root_mean_square(network(images), teacher(images)) < before


@policies
def test_only_bounds_change(student, teacher, calibration, policy):
    network = student(policy)
    bounds = state(network, (ActivationQuantizer, WeightQuantizer))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    float_before = copy.deepcopy(teacher.state_dict())
    finetune(network, teacher, calibration, together(passes=2))
    after = network.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert changed <= {name for name in before if name.endswith((".lower", ".upper"))}
    assert not same(bounds, state(network, (ActivationQuantizer, WeightQuantizer)))
    assert same(float_before, teacher.state_dict())
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_teacher_runs_once_per_crop(student, teacher, calibration):
    network = student()
    seen = Counter()
    teacher.register_forward_pre_hook(lambda module, inputs: seen.update({"crops": len(inputs[0]), "calls": 1}))
    finetune(network, teacher, calibration, together(passes=3))
    assert seen == {"crops": calibration.count, "calls": 3}


@pytest.mark.parametrize(
    ("group", "kept"), [("weights", ActivationQuantizer), ("activations", WeightQuantizer)], ids=["weights", "act."]
)
def test_stage_touches_its_group_only(student, teacher, calibration, group, kept):
    network = student()
    both = (ActivationQuantizer, WeightQuantizer)
    before, all_before = state(network, kept), state(network, both)
    finetune(network, teacher, calibration, once(0.01, (group,)))
    assert same(before, state(network, kept))
    moved = {name for name, value in state(network, both).items() if not torch.equal(value, all_before[name])}
    assert len(moved) == len(all_before) - len(before)


@pytest.mark.parametrize("relative", [True, False], ids=["relative", "absolute"])
def test_learning_rate_zero_changes_nothing(student, teacher, calibration, relative):
    network = student()
    before = copy.deepcopy(network.state_dict())
    finetune(network, teacher, calibration, Finetune((Stage(BOTH, 0.0),), relative=relative))
    assert same(before, network.state_dict())


@policies
def test_same_seed_gives_same_bounds(student, teacher, calibration, policy):
    first, second = student(policy), student(policy)
    for network in (first, second):
        finetune(network, teacher, calibration, once(0.01))
    assert same(first.state_dict(), second.state_dict())


@policies
def test_bounds_stay_apart(student, teacher, calibration, policy):
    network = student(policy)
    first = {name: width(quantizer) for name, quantizer in quantizers(network).items()}
    finetune(network, teacher, calibration, Finetune((Stage(BOTH, 0.9), Stage(BOTH, 0.9)), batch=1))
    for name, quantizer in quantizers(network).items():
        rounding = torch.finfo(torch.float32).eps * quantizer.upper.detach().abs()
        assert bool((width(quantizer) >= NARROWEST * first[name] - rounding).all()), name


def width(quantizer):
    upper = quantizer.upper.detach()
    return 2 * upper if quantizer.lower is None else upper - quantizer.lower.detach()


def test_steps_are_relative_to_each_range(student, teacher, calibration):
    """Adam's first step is its learning rate."""
    calibration = type(calibration)(calibration.folder, count=1, seed=0, patch=12)
    for relative in (True, False):
        network = student()
        before = {name: (q.upper.item(), width(q).item()) for name, q in quantizers(network).items()}
        finetune(network, teacher, calibration, Finetune((Stage(BOTH, 1e-2),), relative=relative))
        for name, quantizer in quantizers(network).items():
            upper, first = before[name]
            rate = 1e-2 * (first if relative else 1.0)
            # a little less where the gradient is almost as small as Adam's epsilon
            assert 0.9 * rate <= abs(quantizer.upper.item() - upper) <= 1.001 * rate, name


def test_of_ranges_per_channel_the_geometric_mean_counts():
    quantizer = ActivationQuantizer(torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 200.0]), 4)
    assert rate_of(quantizer, 0.01, relative=True) == pytest.approx(0.01 * 20)
    assert rate_of(quantizer, 0.01, relative=False) == 0.01


def test_shared_grid_is_optimised_once(student, teacher, calibration, monkeypatch):
    network = student(POLICIES["8-bit skip"])
    sums = [m.quantizer for m in network.modules() if isinstance(m, QuantAdd)]
    readers = [getattr(m, "input_quantizer", None) for m in network.modules()]
    assert all(any(grid is reader for reader in readers) for grid in sums)
    optimised = Counter()
    adam = torch.optim.Adam

    def counting(groups, **settings):
        optimised.update(id(p) for group in groups for p in group["params"])
        return adam(groups, **settings)

    monkeypatch.setattr(torch.optim, "Adam", counting)
    finetune(network, teacher, calibration, once(0.01, ("activations",)))
    bounds = {id(p) for q in quantizers(network, ActivationQuantizer).values() for p in q.parameters()}
    assert optimised == dict.fromkeys(bounds, 1)


def test_progress_counts_steps_of_each_pass(student, teacher, calibration):
    told = []
    finetune(student(), teacher, calibration, together(passes=2), lambda *step: told.append(step))
    assert told == [(f"pass {n}/2", step, 3) for n in (1, 2) for step in (1, 2, 3)]


def test_networks_without_features_learn_from_the_picture(student, teacher, calibration):
    bare = type(teacher)(teacher.module, dataclasses.replace(teacher.facts, features=()))
    learner = type(teacher)(student().module, bare.facts)
    (images,) = calibration.batches(5)
    before = picture_loss(learner, teacher, images)
    finetune(learner, bare, calibration, together())
    assert picture_loss(learner, teacher, images) < before


@torch.no_grad()
def picture_loss(student, teacher, images):
    return output_loss(student(images), teacher(images)).item()


def test_diverging_finetuning_says_so(student, teacher, calibration):
    network = student()
    quantizer = next(iter(quantizers(network, ActivationQuantizer).values()))
    quantizer.upper.data.fill_(float("nan"))
    with pytest.raises(PolicyError, match="diverged"):
        finetune(network, teacher, calibration, once(0.01))
    assert not any(module._forward_hooks for module in [*network.modules(), *teacher.modules()])


@pytest.mark.parametrize(("stages", "batch"), [((), 2), ((Stage(BOTH, 0.1),), 0)])
def test_recipes_need_a_stage_and_a_crop(stages, batch):
    with pytest.raises(PolicyError, match="needs 1 or more of each"):
        Finetune(stages, batch)


def test_recipes():
    assert set(RECIPES) == {"together", "squares", "weights", "published"}
    assert {s.groups for s in RECIPES["weights"]().stages} == {("weights",)}
    assert [(s.groups, s.learning_rate) for s in together(2, 0.01, 0.7).stages] == [(BOTH, 0.01), (BOTH, 0.01 * 0.7)]
    stages = published(4, 0.01, 0.9).stages
    assert [s.groups for s in stages] == [("weights",), ("activations",)] * 2
    assert [s.learning_rate for s in stages] == [0.01, 0.01, 0.01 * 0.9, 0.01 * 0.9]
    assert published().relative is False


@pytest.mark.parametrize("restarts", [True, False])
def test_averages_start_anew_or_go_on(student, teacher, calibration, monkeypatch, restarts):
    used = []

    def spy(network, lessons, optimizer, *rest):
        train_pass(network, lessons, optimizer, *rest)
        used.append((optimizer.param_groups[0]["lr"], {int(s["step"]) for s in optimizer.state.values()}, len(lessons)))

    monkeypatch.setattr("srquant.distillation.recipes.train_pass", spy)
    stages = Stage(("weights",), 1e-3), Stage(("activations",), 1e-3), Stage(("weights",), 1e-4)
    finetune(student(Policy()), teacher, calibration, Finetune(stages, relative=False, restarts=restarts))
    steps = used[0][2]
    assert [rate for rate, *_ in used] == [1e-3, 1e-3, 1e-4]
    assert [counts for _, counts, _ in used] == [{steps}, {steps}, {steps if restarts else 2 * steps}]


def test_the_published_recipe_has_adabms_losses():
    recipe = published()
    assert len(recipe.stages) == 10
    assert (recipe.batch, recipe.feature_distance, recipe.restarts) == (2, "plain", False)
    assert recipe.feature_weight * 255 == pytest.approx(10)
