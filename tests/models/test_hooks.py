"""Hooks see what passes the modules under the right names, change nothing, and are gone afterwards."""

import pytest
import torch
from torch import nn

from srquant.models.hooks import kept_inputs, kept_outputs, watch_inputs, watch_outputs

X = torch.tensor([[-1.0, 2.0]])


@pytest.fixture
def network() -> nn.Sequential:
    """Negates, clips at zero, negates with the first module again."""
    negate = nn.Linear(2, 2, bias=False)
    nn.init.eye_(negate.weight).data.neg_()
    return nn.Sequential(negate, nn.ReLU(), negate).requires_grad_(False)


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_inputs_are_seen_under_their_names_before_each_call(network) -> None:
    seen = []
    with watch_inputs({"negate": network[0], "relu": network[1]}, lambda name, inputs: seen.append((name, inputs))):
        network(X)
    assert [(name, inputs[0].tolist()) for name, inputs in seen] == [
        ("negate", [[-1.0, 2.0]]),
        ("relu", [[1.0, -2.0]]),
        ("negate", [[1.0, 0.0]]),
    ]
    assert seen[0][1][0] is X


def test_outputs_are_seen_with_the_inputs_that_made_them(network) -> None:
    seen = []

    def see(name: str, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.append((name, inputs[0].tolist(), output.tolist()))

    with watch_outputs({"relu": network[1]}, see):
        network(X)
    assert seen == [("relu", [[1.0, -2.0]], [[1.0, 0.0]])]


def test_all_arguments_of_a_module_are_shown() -> None:
    seen = []
    bilinear = nn.Bilinear(2, 2, 1)
    with watch_inputs({0: bilinear}, lambda name, inputs: seen.append((name, len(inputs)))):
        bilinear(X, X)
    assert seen == [(0, 2)]


def test_kept_tensors_are_in_the_order_of_the_calls(network) -> None:
    with kept_inputs(network[1], network[0]) as inputs, kept_outputs(network[0]) as outputs:
        network(X)
    assert [x.tolist() for x in inputs] == [[[-1.0, 2.0]], [[1.0, -2.0]], [[1.0, 0.0]]]
    assert [x.tolist() for x in outputs] == [[[1.0, -2.0]], [[-1.0, 0.0]]]


def test_what_a_watcher_returns_changes_nothing(network) -> None:
    expected = network(X)
    modules = {"relu": network[1]}
    with watch_inputs(modules, lambda *_: torch.ones(1, 2)), watch_outputs(modules, lambda *_: torch.ones(1, 2)):
        assert torch.equal(network(X), expected)


@pytest.mark.parametrize("watch", [watch_inputs, watch_outputs])
def test_hooks_are_gone_afterwards(network, watch) -> None:
    calls = []
    with watch({"negate": network[0], "relu": network[1]}, lambda *seen: calls.append(seen)):
        assert hooks(network) == 2
        network(X)
    assert hooks(network) == 0
    before = len(calls)
    network(X)
    assert len(calls) == before == 3


@pytest.mark.parametrize("watch", [watch_inputs, watch_outputs])
def test_hooks_are_gone_after_an_error(network, watch) -> None:
    with pytest.raises(RuntimeError), watch({"negate": network[0], "relu": network[1]}, lambda *_: None):
        network(torch.zeros(1, 3))
    assert hooks(network) == 0


@pytest.mark.parametrize("kept", [kept_inputs, kept_outputs])
def test_hooks_that_keep_are_gone_after_an_error(network, kept) -> None:
    with pytest.raises(RuntimeError), kept(network[0], network[1]):
        network(torch.zeros(1, 3))
    assert hooks(network) == 0


@pytest.mark.parametrize("watch", [watch_inputs, watch_outputs])
def test_hooks_are_gone_where_one_cannot_be_placed(network, watch) -> None:
    with pytest.raises(AttributeError), watch({"relu": network[1], "other": "no module"}, lambda *_: None):
        raise AssertionError("unreachable")
    assert hooks(network) == 0
