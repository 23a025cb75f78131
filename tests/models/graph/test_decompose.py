import pytest
import torch
from torch import Tensor, nn

from srquant.deploy.export.program import export_graph
from srquant.models.graph.decompose import ASSERTIONS, called
from srquant.models.network import Facts, Network


class InPlace(nn.Module):
    """Changes values in place, as many published networks do."""

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu_(images * 2.0)
        x += 1
        return x


class Converted(nn.Module):
    """Changes the type, about which the trace notes a check."""

    def forward(self, images: Tensor) -> Tensor:
        return (images.to(torch.float64) * 2).to(images)


@pytest.mark.parametrize(
    "module", [InPlace(), Converted(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))], ids=str
)
@torch.no_grad()
def test_graph_computes_the_same_without_checks_and_changes_in_place(module):
    network = Network(module.eval(), Facts("custom", 1, 1.0, (), ()))
    graph, images = export_graph(network), torch.randn(1, 3, 9, 12)
    before = images.clone()
    torch.testing.assert_close(graph(images), network(images), rtol=0, atol=1e-6)
    assert torch.equal(images, before)
    targets = [node.target for node in called(graph.graph)]
    assert not set(targets) & set(ASSERTIONS)
    assert not any(target._schema.is_mutable for target in targets if hasattr(target, "_schema"))


@torch.no_grad()
def test_operators_that_engines_have_stay_whole():
    module = nn.Sequential(nn.SiLU(), nn.PixelUnshuffle(2), nn.ReflectionPad2d(1), nn.Hardswish())
    graph = export_graph(Network(module, Facts("custom", 1, 1.0, (), (), multiple_of=2)))
    names = [str(node.target).split(".")[1] for node in called(graph.graph)]
    assert [name for name in names if name in ("silu", "pixel_unshuffle", "reflection_pad2d", "hardswish")] == [
        "silu",
        "pixel_unshuffle",
        "reflection_pad2d",
        "hardswish",
    ]
