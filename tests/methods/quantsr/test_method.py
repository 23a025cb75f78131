"""QuantSR: stages, depths, learned shortcuts, published checkpoints, and what is deployed."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from srquant.distillation.loop import adam
from srquant.distillation.losses import output_loss
from srquant.errors import CheckpointError, PolicyError
from srquant.insertion.depth_network import DepthNetwork
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.methods.quantsr.checkpoint import load_published
from srquant.methods.quantsr.dqa import only_blocks, skippable_blocks
from srquant.methods.quantsr.method import QuantSR, QuantSRStudent, deployable, prepare
from srquant.methods.quantsr.rlq_layers import RLQLayer
from srquant.methods.trained_registry import TRAINED
from srquant.models.architectures.edsr import EDSR
from srquant.models.load import build
from srquant.models.network import Network

FLOAT_ENDS = Policy(LayerBits(4, 4), head=None, tail=None)
STEPS = 10


def edsr(blocks: int = 4) -> Network:
    return build("edsr", {"blocks": blocks, "features": 4, "scale": 2})


def swinir(groups: int = 4) -> Network:
    return build("swinir", {"depths": [1] * groups, "heads": 2, "features": 4, "hidden": 8, "scale": 2, "window": 4})


def student(network: Network | None = None, policy: Policy = FLOAT_ENDS, **options: object) -> QuantSRStudent:
    config = QuantSR(**options)  # type: ignore[arg-type]
    return prepare(edsr() if network is None else network, [torch.rand(2, 3, 12, 12)], policy, config, STEPS)


def pair(count: int = 2) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 3, 12, 12), torch.rand(count, 3, 24, 24)


def train(learner: QuantSRStudent, steps: int = STEPS) -> QuantSRStudent:
    optimizer = adam(learner.rates())
    for step in range(steps):
        loss = learner(*pair(), step)
        optimizer.zero_grad()
        loss.backward()
        learner.after_backward()
        optimizer.step()
        learner.after_step(step)
    return learner


def test_it_is_registered():
    assert TRAINED["quantsr"].prepare is prepare
    assert TRAINED["quantsr"].config is QuantSR


@pytest.mark.parametrize(
    ("network", "options", "depths"),
    [
        (edsr(8), {}, (8, 4)),
        (edsr(16), {}, (16, 8, 4)),
        (edsr(2), {}, (2,)),
        (swinir(), {}, (4, 2, 1)),
        (edsr(8), {"depths": (3,)}, (8, 3)),
        (edsr(8), {"dqa_keep": "code"}, (8, 5)),
        (edsr(16), {"dqa_keep": "code", "depths": (8, 4)}, (16, 9, 5)),
        (build("compact", {"convolutions": 1, "features": 4}), {}, (0,)),
    ],
    ids=["8", "16", "2", "swinir", "given", "code", "code of 16", "no blocks"],
)
def test_depths(network: Network, options: dict[str, object], depths: tuple[int, ...]):
    assert student(network, **options).depths == depths


@pytest.mark.parametrize("depths", [(5,), (0,), (2, 9)])
def test_impossible_depths_are_refused(depths: tuple[int, ...]):
    with pytest.raises(PolicyError, match="4 blocks"):
        student(depths=depths)


def test_skip_stream_on_a_grid_is_refused():
    with pytest.raises(PolicyError, match="skip_bits"):
        student(policy=Policy(LayerBits(4, 4), skip_bits=8))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_steps_start_at_the_first_batch(bits: int):
    learner = student(policy=Policy(LayerBits(bits, bits), head=None, tail=None))
    layers = {n: m for n, m in learner.network.module.named_modules() if isinstance(m, RLQLayer)}
    assert len(layers) == 9
    first, second = (layers[f"body.0.block.body.{i}"] for i in (0, 2))
    assert float(first.input_quantizer.first) == -(2 ** (bits - 1))
    assert float(second.input_quantizer.first) == 0
    head = learner.network.module.get_submodule("head")
    seen = head(learner.network.module.get_submodule("sub_mean")(learner.crops[0] * 255))
    expected = 2 * seen.abs().mean() / first.input_quantizer.last.sqrt()
    assert float(first.input_quantizer.alpha.detach()) == pytest.approx(float(expected.detach()))


@pytest.mark.parametrize("make", [edsr, swinir])
def test_each_depth_runs_its_number_of_branches(make: Callable[[], Network]):
    learner = student(make(), depths=(4, 2, 1))
    calls: list[str] = []
    for name, block in skippable_blocks(learner.network).items():
        block.block.register_forward_hook(lambda *_, name=name: calls.append(name))
    kept = learner.kept_blocks()
    calls.clear()
    for depth, names in kept.items():
        with only_blocks(learner.network, names):
            learner.network(pair()[0])
        assert calls == list(names)
        assert len(names) == depth
        calls.clear()
    learner.network(pair()[0])
    assert len(calls) == 4


def test_full_depth_is_the_plain_network():
    learner = student()
    low, _ = pair()
    plain = deployable(learner.network)
    with torch.no_grad(), only_blocks(learner.network, learner.kept_blocks()[4]):
        assert torch.allclose(learner.network(low), plain(low), atol=1e-6)


def test_gradients_of_a_joint_step_are_the_mean_over_depths():
    learner = student(depths=(4, 2, 1))
    low, high = pair()
    learner(low, high, STEPS - 1).backward()
    joint = {name: p.grad.clone() for name, p in learner.named_parameters() if p.grad is not None}
    learner.zero_grad()
    for names in learner.kept_blocks().values():
        with only_blocks(learner.network, names):
            (output_loss(learner.network(low), high) / 3).backward()
    for name, parameter in learner.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, joint[name], atol=1e-6), name


def test_first_stage_trains_full_depth_alone():
    learner = student(depths=(4, 1))
    low, high = pair()
    assert torch.equal(learner(low, high, 4), output_loss(learner.network(low), high))
    assert bool((learner.order == -1).all())
    assert not torch.equal(learner(low, high, 5), output_loss(learner.network(low), high))
    assert sorted(learner.order.tolist()) == [0, 1, 2, 3]


def test_large_branches_stay_or_small_shortcuts():
    for rule, expected in (("branch", [2, 0, 1, 3]), ("shortcut", [3, 1, 0, 2])):
        learner = student(drop_order=rule)
        blocks = list(skippable_blocks(learner.network).values())
        for block, gain, factor in zip(blocks, (0.2, 0.1, 2.0, 0.01), (1.1, 0.9, 1.2, 0.8), strict=True):
            last = block.block.get_submodule("body.2")
            assert isinstance(last, RLQLayer)
            assert last.layer.bias is not None
            last.layer.bias.data.fill_(300 * gain)
            assert block.shortcut is not None
            block.shortcut.data.fill_(factor)
        assert learner.block_order().tolist() == expected


def test_order_is_kept_in_the_state():
    learner = train(student(depths=(4, 2)))
    resumed = student(depths=(4, 2))
    resumed.load_state_dict(learner.state_dict())
    assert resumed.kept_blocks() == learner.kept_blocks()
    assert torch.equal(resumed(*(same := pair()), STEPS - 1), learner(*same, STEPS - 1))


@pytest.mark.parametrize(
    ("make", "policy"),
    [
        (edsr, FLOAT_ENDS),
        (edsr, Policy(LayerBits(2, 2))),
        (edsr, Policy(LayerBits(8, 8))),
        (swinir, Policy(LayerBits(3, 3), None, None, kinds=("linear", "matmul"))),
        (swinir, Policy(LayerBits(3, 3), None, None, kinds=TRAINED["quantsr"].attention)),
    ],
    ids=["w4a4 float ends", "w2a2", "w8a8", "swinir", "swinir, default layers"],
)
def test_shortcuts_are_folded_at_every_depth(make: Callable[[], Network], policy: Policy):
    """Up to float rounding; not settled, as settling moves bounds."""
    learner = train(student(make(), policy, learning_rate=0.01, most_change=1.0, depths=(4, 2)))
    if make is edsr:
        factors = [block.factor() for block in skippable_blocks(learner.network).values()]
        assert max(abs(factor - 1) for factor in factors) > 0.01
    plain = DepthNetwork(deployable(learner.network), learner.kept_blocks())
    low, _ = pair()
    with torch.no_grad():
        for depth, names in learner.kept_blocks().items():
            with only_blocks(learner.network, names):
                difference = (learner.network(low) - plain.at(depth)(low)).abs()
            assert float(difference.quantile(0.99)) < 1e-5


def test_negative_shortcuts_are_folded():
    learner = student(depths=(4,))
    for block, factor in zip(skippable_blocks(learner.network).values(), (-0.9, 1.3, -1.1, 0.7), strict=True):
        assert block.shortcut is not None
        block.shortcut.data.fill_(factor)
    low, _ = pair()
    with torch.no_grad():
        assert torch.allclose(deployable(learner.network)(low), learner.network(low), atol=1e-5)


def test_shortcuts_of_nearly_zero_are_refused():
    learner = student()
    block = skippable_blocks(learner.network)["body.1"]
    assert block.shortcut is not None
    block.shortcut.data.fill_(1e-5)
    with pytest.raises(PolicyError, match=r"body\.1"):
        learner.result()


def test_result_leaves_the_student_as_it_is():
    learner = train(student())
    state = {name: tensor.clone() for name, tensor in learner.state_dict().items()}
    result = learner.result()
    assert isinstance(result, QuantizedModel)
    assert result.origin.method == "quantsr"
    assert result.origin.options["depths"] is None
    assert learner.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in learner.state_dict().items())


def test_training_lowers_the_loss_on_one_batch():
    learner = student(learning_rate=3e-3, most_change=1.0)
    low, _ = pair()
    high = torch.nn.functional.interpolate(low, scale_factor=2)
    optimizer = adam(learner.rates())
    losses = []
    for step in range(40):
        loss = learner(low, high, step % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learner.after_step(step)
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_rates_are_relative_to_steps_and_limited_for_small_weights():
    learner = student(step_change=0.003)
    head = learner.network.module.get_submodule("head.0").get_parameter("weight")
    head.data.mul_(1e-3)
    rates = {id(p): rate.learning_rate for rate in learner.rates() for p in rate.parameters}
    assert rates.keys() == {id(p) for p in learner.parameters()}
    assert rates[id(head)] == pytest.approx(0.01 * float(head.detach().abs().mean()))
    quantizer = learner.network.module.get_submodule("body.0.block.body.0.input_quantizer")
    tau, alpha = (quantizer.get_parameter(name) for name in ("tau", "alpha"))
    assert rates[id(tau)] == rates[id(alpha)] == pytest.approx(0.003 * alpha.item())
    published = {id(p): r.learning_rate for r in student(step_change=None).rates() for p in r.parameters}
    assert set(published.values()) == {2e-4}


def test_log_has_the_same_names_always():
    learner = student()
    before = learner.logged()
    train(learner, 3)
    after = learner.logged()
    assert list(before) == list(after)
    assert {"weight_step_std", "activation_step_std", "shift_std", "gradient_change", "shortcut.body.0"} <= set(after)
    assert before["shift_std"] == 0 < after["shift_std"]
    assert 0 < after["gradient_change"] < 0.16


def test_without_redistribution_gradients_are_not_changed():
    assert train(student(redistribution=False), 2).logged()["gradient_change"] == 0


def published(blocks: int = 4) -> dict[str, Tensor]:
    """A state dict in the published layout, from a student's numbers."""
    state = EDSR(blocks, 4, 2).state_dict()
    renamed = {"head.0": "conv_first", f"body.{blocks}": "conv_after_body", "tail.0": "upsample", "tail.1": "conv_last"}
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        for old, new in renamed.items():
            if name.startswith(f"{old}."):
                weights[new + name.removeprefix(old)] = tensor
    for i in range(blocks):
        weights[f"body.{i}.learnable_shortcut"] = torch.tensor([1 + i / 10])
        for conv, own, signed in (("conv1", "body.0", True), ("conv2", "body.2", False)):
            name = f"body.{i}.{conv}"
            weights |= {f"{name}.{key}": state[f"body.{i}.{own}.{key}"] for key in ("weight", "bias")}
            weights[f"{name}.alpha"] = torch.tensor(0.02 + i / 100)
            weights[f"{name}.init_state"] = torch.ones(1)
            weights[f"{name}.channel_threshold"] = torch.linspace(-1, 1, 4).reshape(1, 4, 1, 1)
            weights[f"{name}.ActOurs.alpha"] = torch.tensor([5.0 + i])
            weights[f"{name}.ActOurs.init_state"] = torch.ones(1)
            weights[f"{name}.ActOurs.signed"] = torch.tensor([float(signed)])
    return weights


def expected_block(x: Tensor, weights: dict[str, Tensor], i: int) -> Tensor:
    """A block as the published code computes it at 4 bits, from the specification."""
    y = x
    for conv, first, last in (("conv1", -8, 7), ("conv2", 0, 15)):
        part = {key: weights[f"body.{i}.{conv}.{key}"] for key in ("weight", "bias", "alpha", "channel_threshold")}
        step = weights[f"body.{i}.{conv}.ActOurs.alpha"]
        points = ((y + part["channel_threshold"]) / step).clamp(first, last).round() * step
        kernel = (part["weight"] / part["alpha"]).clamp(-8, 7).round() * part["alpha"]
        y = torch.nn.functional.conv2d(points, kernel, part["bias"], padding=1)
        y = y.relu() if conv == "conv1" else y
    return x * weights[f"body.{i}.learnable_shortcut"] + y


def test_published_checkpoint(tmp_path: Path):
    weights = published()
    torch.save({"params": weights}, tmp_path / "quantsr.pth")
    learner = load_published(tmp_path / "quantsr.pth", LayerBits(4, 4), [torch.rand(1, 3, 12, 12)])
    for i, block in enumerate(skippable_blocks(learner.network).values()):
        x = 20 * torch.randn(1, 4, 9, 8)
        with torch.no_grad():
            assert torch.allclose(block(x), expected_block(x, weights, i), atol=1e-4)
    result = learner.result()
    assert isinstance(result.network, DepthNetwork) == (len(learner.depths) > 1)


def test_other_checkpoints_are_no_published_quantsr(tmp_path: Path):
    torch.save(EDSR(1, 4, 2).state_dict(), tmp_path / "edsr.pt")
    with pytest.raises(CheckpointError, match="channel_threshold"):
        load_published(tmp_path / "edsr.pt", LayerBits(4, 4), [torch.rand(1, 3, 12, 12)])
    weights = published()
    weights.pop("body.1.conv2.ActOurs.alpha")
    torch.save(weights, tmp_path / "incomplete.pth")
    with pytest.raises(CheckpointError, match=r"body\.1\.conv2\.ActOurs\.alpha"):
        load_published(tmp_path / "incomplete.pth", LayerBits(4, 4), [torch.rand(1, 3, 12, 12)])
