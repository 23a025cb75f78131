"""Traces of wrapped modules: they hold for every size or are refused, and leave the module as it was."""

import pytest
import torch
from torch import Tensor, nn

from srquant.errors import EngineError
from srquant.models.graph.trace import graph_of, takes_one
from srquant.models.wrap import wrap


class Module(nn.Module):
    """Three convolutions to x2; subclasses change what is between."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body, self.tail = (nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 8), (8, 8), (8, 12)))

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.tail(self.between(self.head(images))), 2)

    def between(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x))


class Halved(Module):
    """As SAFMN: PyTorch 2.13 keeps the traced size of this operator as a number."""

    rows = 2

    def between(self, x: Tensor) -> Tensor:
        size = x.shape[2] // self.rows, x.shape[3] // 2
        small = self.body(nn.functional.adaptive_max_pool2d(x, size))
        return nn.functional.interpolate(small, size=x.shape[2:])


class SevenParts(Halved):
    """Sizes that are no multiples."""

    rows = 7


class OnlyOneSize(Module):
    """A step that asks for the number of rows."""

    def between(self, x: Tensor) -> Tensor:
        return self.body(x) * (2 if x.shape[2] == 33 else 1) + x.shape[2]


class ReadsWeights(Module):
    """As Swin2SR: the code reads the weights of a layer instead of calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(8, 8)

    def between(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.body(x).movedim(1, -1), self.mix.weight, self.mix.bias).movedim(-1, 1)


class AssignsMean(Module):
    """As the official SwinIR: a tensor of the module is assigned while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.full((1, 8, 1, 1), 0.5)

    def between(self, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        return self.body(x - self.mean)


def traced(module: nn.Module, multiple_of: int = 1) -> nn.Module:
    return graph_of(wrap(module.eval(), 2, multiple_of=multiple_of))


@pytest.mark.parametrize("make", [Module, ReadsWeights, AssignsMean])
@torch.no_grad()
def test_a_graph_gives_the_same_bits_at_other_sizes(make):
    module = make().eval()
    graph, images = traced(module), torch.rand(1, 3, 12, 19)
    assert torch.equal(graph(images), module(images))


@torch.no_grad()
def test_pools_with_a_whole_ratio_hold_for_other_sizes():
    module = Halved().eval()
    graph, images = traced(module, multiple_of=2), torch.rand(1, 3, 12, 20)
    assert torch.equal(graph(images), module(images))


def test_an_operator_that_keeps_a_size_is_refused():
    with pytest.raises(EngineError, match=r"gives another picture of 84x46 pixels .*engine 'torch' runs it"):
        traced(SevenParts(), multiple_of=2)


def test_a_step_that_depends_on_the_size_is_refused():
    with pytest.raises(EngineError, match=r"rows 33.*engine 'torch' runs it|another picture"):
        traced(OnlyOneSize())


def test_a_module_that_assigns_tensors_stays_as_it_was():
    module = AssignsMean().eval()
    traced(module)
    assert type(module.mean) is Tensor
    assert module(torch.rand(1, 3, 8, 8)).shape == (1, 3, 16, 16)


@pytest.mark.parametrize(("make", "one"), [(Module, False), (ReadsWeights, True)])
def test_networks_with_linear_layers_take_one_picture(make, one):
    assert takes_one(traced(make()).graph) == one


def test_the_same_module_is_traced_once(monkeypatch):
    from srquant.models.graph import trace

    calls, once = [], trace._traced
    monkeypatch.setattr(trace, "_traced", lambda network, leaves: calls.append(network) or once(network, leaves))
    network = wrap(Module().eval(), 2)
    first, second = graph_of(network), graph_of(network)
    assert len(calls) == 1
    network.module.body = nn.Conv2d(8, 8, 1)
    third = graph_of(network)
    assert len(calls) == 2
    assert first.get_submodule("body") is second.get_submodule("body") is not third.get_submodule("body")
