import pytest
import torch
from torch import nn

from srquant.deploy.export.conv_before_shuffle import before_shuffle
from srquant.deploy.export.graph_tools import IntegerConv2d
from srquant.deploy.export.operators import block_shuffle, integer_conv2d
from srquant.deploy.export.program import export_graph
from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.deploy.frozen.sums import FrozenAdd
from srquant.models.blocks.conv_geometry import ConvGeometry
from srquant.models.blocks.layers import Add
from srquant.models.load import build
from srquant.models.network import Facts, Network

FACTS = Facts("custom", 1, 1.0, (), ())
GRID = FrozenGrid(torch.tensor(-1.0), torch.tensor(1.3), 256)
COARSE = FrozenGrid(torch.tensor(-0.8), torch.tensor(1.0), 16)


def frozen_conv(in_channels: int, out_channels: int, kernel: int = 3, grid: FrozenGrid = GRID) -> FrozenConv2d:
    weight = torch.randint(-127, 128, (out_channels, in_channels, kernel, kernel), dtype=torch.int8)
    scale, bias = torch.rand(out_channels) * 1e-3, torch.randn(out_channels)
    pad = kernel // 2
    return FrozenConv2d(grid, weight, scale, bias, (1, 1), (pad, pad), (1, 1), 1, 8)


def kinds(module: nn.Module, pair_saturation: bool = False) -> list[str]:
    graph = export_graph(Network(module, FACTS), pair_saturation)
    return [str(node.target).split(".")[1] for node in graph.graph.nodes if node.op == "call_function"]


def convolve(conv: IntegerConv2d, integers: torch.Tensor) -> torch.Tensor:
    g = conv.geometry
    return integer_conv2d(
        integers, conv.weight, conv.scale, conv.bias, g.stride, g.padding, g.dilation, g.groups, conv.name
    )


class Skip(nn.Module):
    """A sum on a grid, read by two convolutions and a second sum."""

    def __init__(self, first: FrozenGrid, second: FrozenGrid) -> None:
        super().__init__()
        self.add, self.last = FrozenAdd(GRID, 0.5), Add(0.1)
        self.a, self.b = frozen_conv(3, 3, grid=first), frozen_conv(3, 3, grid=second)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        total = self.add(images, images)
        return self.last(self.last(total, self.a(total)), self.b(total))


@pytest.mark.parametrize("skip", [False, True], ids=["float skip", "8-bit skip"])
@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [
        ("edsr", {"blocks": 2, "features": 16, "scale": 4, "res_scale": 0.1}),
        ("msrresnet", {"blocks": 1, "features": 16}),
        ("carn", {"features": 16, "scale": 2, "groups": 4, "shared": True}),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_rewritten_network_gives_the_same_picture(freeze_directly, architecture, arguments, skip):
    network = freeze_directly(build(architecture, arguments), 4, 4, skip)
    images = torch.rand(1, 3, 20, 22)
    difference = (export_graph(network)(images) - network(images)).abs()
    assert (difference > 1e-5).float().mean() < 0.02  # float rounding may move a value over the border of two codes


@pytest.mark.parametrize(("kernel", "factor"), [(3, 2), (3, 3), (5, 2), (1, 2), (7, 4)])
def test_convolution_before_the_shuffle_has_the_same_integers(kernel, factor):
    pad = kernel // 2
    weight = torch.randint(-127, 128, (3, 4, kernel, kernel), dtype=torch.int8)
    conv = IntegerConv2d(weight, torch.ones(3), torch.zeros(3), ConvGeometry((1, 1), (pad, pad), (1, 1), 1), "")
    shuffle = nn.PixelShuffle(factor)
    integers = torch.randint(-8, 8, (2, 4 * factor**2, 5, 6)).float()
    assert torch.equal(shuffle(convolve(before_shuffle(conv, factor), integers)), convolve(conv, shuffle(integers)))


def test_block_shuffle_is_a_pixel_shuffle_of_reordered_channels():
    x = torch.randn(2, 12, 3, 5)
    blocks = x.view(2, 3, 4, 3, 5).transpose(1, 2).reshape(x.shape)
    assert torch.equal(block_shuffle(blocks, 2), nn.PixelShuffle(2)(x))


def test_sum_on_the_grid_of_the_next_convolution_is_quantized_once():
    assert kinds(Skip(GRID, GRID)).count("quantize") == 1
    assert kinds(Skip(COARSE, COARSE)).count("quantize") == 2
    assert kinds(Skip(GRID, COARSE)).count("quantize") == 2


@pytest.mark.parametrize("grids", [(GRID, GRID), (GRID, COARSE), (COARSE, COARSE)], ids=["same", "mixed", "coarse"])
def test_shared_sums_keep_their_values(grids):
    network = Network(Skip(*grids), FACTS)
    images = torch.randn(1, 3, 9, 9)
    torch.testing.assert_close(export_graph(network)(images), network(images), rtol=0, atol=1e-5)


def test_shuffles_move_bytes_and_a_small_last_convolution_runs_before():
    module = nn.Sequential(frozen_conv(3, 16), nn.PixelShuffle(2), nn.ReLU(), frozen_conv(4, 3))
    expected = ["quantize", "integer_conv2d", "relu", "quantize", "integer_conv2d", "block_shuffle"]
    assert kinds(module) == expected
    images = torch.randn(1, 3, 6, 7)
    torch.testing.assert_close(export_graph(Network(module, FACTS))(images), module(images), rtol=0, atol=1e-5)


def test_large_convolution_stays_after_the_shuffle():
    module = nn.Sequential(frozen_conv(3, 16), nn.PixelShuffle(2), frozen_conv(4, 8))
    assert kinds(module) == ["quantize", "integer_conv2d", "quantize", "block_shuffle", "integer_conv2d"]


def test_factors_and_colour_shifts_become_part_of_the_last_convolution(freeze_directly):
    graph = export_graph(freeze_directly(build("edsr", {"blocks": 1, "features": 16, "scale": 2}), 8, 8))
    last = graph.graph.output_node().all_input_nodes[0]
    assert last.target is torch.ops.srquant.block_shuffle.default


def test_layer_called_twice_keeps_its_factor():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = frozen_conv(3, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(images) * 0.5) * 3.0

    network = Network(Twice(), FACTS)
    images = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(export_graph(network)(images), network(images), rtol=0, atol=1e-5)


def test_float_network_is_left_alone():
    network = build("edsr", {"blocks": 1, "features": 16, "scale": 2})
    images = torch.rand(1, 3, 8, 9)
    assert torch.equal(export_graph(network)(images), network(images))


def test_layers_that_would_saturate_are_float_without_vnni(freeze_directly):
    network = freeze_directly(build("edsr", {"blocks": 1, "features": 16, "scale": 2}), 8, 8)
    called = kinds(network.module, pair_saturation=True)
    assert "integer_conv2d" not in called
    assert called.count("dequantize") == called.count("conv2d") > 0


class NormalisedConstant(nn.Module):
    """A layer norm, whose operator has three results, of what no picture enters."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm, self.layer = nn.Parameter(torch.randn(5, 3)), nn.LayerNorm(3), nn.Linear(3, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.layer(self.norm(self.table)).mean()


def test_constants_are_folded_through_operators_with_several_results():
    module, images = NormalisedConstant(), torch.rand(1, 3, 4, 5)
    graph = export_graph(Network(module, FACTS))
    assert [node.target for node in graph.graph.nodes if node.op == "call_function"] == [torch.ops.aten.mul.Tensor]
    torch.testing.assert_close(graph(images), module(images))
