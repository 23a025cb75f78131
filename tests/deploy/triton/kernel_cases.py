"""Run the kernels in Triton's interpreter and compare them with PyTorch, bit for bit; called by ``test_kernels.py``.

TRITON_INTERPRET=1 python kernel_cases.py
"""

import torch
from torch import Tensor

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.deploy.frozen.sums import FrozenAdd
from srquant.deploy.triton.convolution import Convolution, PackedLayer, SumPoints
from srquant.deploy.triton.kernels import choose
from srquant.deploy.triton.kernels.configurations import Configuration

CASES = (
    (Configuration(False, 4, 16), 4, 3, 8),
    (Configuration(True, 3, 16), 4, 3, 8),
    (Configuration(True, 8, 16), 256, 3, 8),
    (Configuration(False, 2, 16), 256, 40, 96),
)
"""Blocks, levels, input and output channels. Blocks meet inside the picture and reach over its edges."""

HEIGHT, WIDTH = 7, 19


def grid(levels: int, lower: float = -1.3, upper: float = 2.1) -> FrozenGrid:
    return FrozenGrid(torch.tensor(lower), torch.tensor(upper), levels)


def layer(c_in: int, c_out: int, levels: int) -> FrozenConv2d:
    weight = torch.randint(-127, 128, (c_out, c_in, 3, 3), dtype=torch.int8)
    window = (1, 1), (1, 1), (1, 1), 1
    return FrozenConv2d(grid(levels), weight, torch.rand(c_out) * 0.01 + 0.001, torch.randn(c_out), *window, 8)


def outputs_match(first: FrozenConv2d, second: FrozenConv2d, x: Tensor, residual: Tensor, add: FrozenAdd) -> None:
    packed, following = PackedLayer(first), PackedLayer(second)
    position = first.grid(x) + first.grid.zero_point - packed.grid.shift
    assert torch.equal(packed.grid(x)[..., : x.shape[1]], position.permute(0, 2, 3, 1).to(torch.int8)), "encode"
    plain, wanted = Convolution(packed), first(x)
    codes = packed.grid(x)
    assert torch.equal(plain(codes), wanted), "values"
    total = (residual + wanted).relu()
    both = Convolution(packed, relu=True, next_grid=following.grid)
    values, fused = both(codes, residual)
    assert torch.equal(values, total), "residual sum and ReLU"
    assert torch.equal(fused[..., : len(first.weight)], following.grid(total)[..., : len(first.weight)]), "codes"
    assert torch.equal(Convolution(following)(fused), second(total)), "codes as input"
    points = Convolution(packed, sum_points=SumPoints(add))(codes, residual)
    assert torch.equal(points, add(residual, wanted)), "sum on a grid"


def main() -> None:
    torch.manual_seed(0)
    for blocks, levels, c_in, c_out in CASES:
        choose.WITHOUT_GPU = blocks
        x, residual = torch.randn(2, c_in, HEIGHT, WIDTH), torch.randn(2, c_out, HEIGHT, WIDTH)
        second = layer(c_out, 5, levels)
        outputs_match(layer(c_in, c_out, levels), second, x, residual, FrozenAdd(grid(256, -3.0, 4.0), 1.0))
        print(blocks, levels, c_in, c_out, "equal", flush=True)


if __name__ == "__main__":
    main()
