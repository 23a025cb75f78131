"""A frozen 3x3 convolution whose input and output may be codes."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.deploy.frozen.sums import FrozenAdd
from srquant.deploy.triton.code_grid import CodeGrid, code_grid, pad_channels, padded_channels

if TYPE_CHECKING:
    from srquant.deploy.triton.kernels.launch import NextGrid, SumGrid

Output = Tensor | tuple[Tensor, Tensor]


class PackedLayer(nn.Module):
    """The tensors of a frozen convolution as the kernels read them; see ``kernels.launch.Operands``.

    Args:
        layer: one that ``is_supported``.
    """

    def __init__(self, layer: FrozenConv2d) -> None:
        super().__init__()
        self.weight: Tensor
        self.first_sum: Tensor
        self.scale: Tensor
        self.bias: Tensor
        self.grid = code_grid(layer)
        self.channels, self.lattice = len(layer.weight), layer.lattice
        sums = layer.weight.flatten(1).sum(1, dtype=torch.int32)
        self.register_buffer("weight", pack_weight(layer.weight))
        self.register_buffer("first_sum", pad_channels(sums * (self.grid.shift - layer.grid.zero_point), 0))
        self.register_buffer("scale", pad_channels(layer.output_scale(), 0.0))
        self.register_buffer("bias", pad_channels(layer.corrected_bias(), 0.0))


def pack_weight(weight: Tensor) -> Tensor:
    """int8 ``C_out x C_in x 3 x 3`` to ``9 x C_out x C_in``, both channels padded by zeros."""
    c_out, c_in = weight.shape[:2]
    packed = weight.new_zeros(9, padded_channels(c_out), padded_channels(c_in))
    packed[:, :c_out, :c_in] = weight.flatten(2).permute(2, 0, 1)
    return packed


class SumPoints(nn.Module):
    """The grid of a ``FrozenAdd``, as numbers that the kernels read."""

    def __init__(self, add: FrozenAdd) -> None:
        super().__init__()
        self.numbers: Tensor
        grid, self.last = add.grid, add.grid.levels - 1
        numbers = [float(grid.lower), grid.step, float(grid.zero_point), grid.offset]
        self.register_buffer("numbers", torch.tensor(numbers, device=grid.lower.device))


class Convolution(nn.Module):
    """Codes to values, or to the codes of the next layer, or to both.

    Args:
        packed: the layer.
        relu: whether ReLU follows, after the residual sum.
        sum_points: of the residual sum; None: it is float.
        next_grid: of the codes to give; None: none.
        keeps_values: whether to give values.
        settled: whether its values are on the lattice of ``packed``, so that all ways to divide by the step of
            ``next_grid`` round to the same code.
    """

    def __init__(
        self,
        packed: PackedLayer,
        relu: bool = False,
        sum_points: SumPoints | None = None,
        next_grid: CodeGrid | None = None,
        keeps_values: bool = True,
        settled: bool = False,
    ) -> None:
        super().__init__()
        self.packed, self.relu, self.sum_points = packed, relu, sum_points
        self.next_grid, self.keeps_values, self.settled = next_grid, keeps_values, settled
        self.multiplies = settled and next_grid is not None and next_grid.lattice == packed.lattice
        self.next_step: Tensor | None
        step = None if next_grid is None else next_grid.step.reciprocal() if self.multiplies else next_grid.step
        self.register_buffer("next_step", step)

    def forward(self, source: Tensor, residual: Tensor | None = None) -> Output:
        """Convolve.

        Args:
            source: int8 ``N x H x W x C_in`` from ``packed.grid`` or from another ``Convolution``.
            residual: ``N x C_out x H x W`` values, added to the result.

        Returns:
            ``N x C_out x H x W`` values (channels last), int8 ``N x H x W x padded C_out`` codes, or both in this
            order.
        """
        from srquant.deploy.triton.kernels.choose import convolve
        from srquant.deploy.triton.kernels.launch import Operands

        p = self.packed
        values = empty_values(source, p.channels) if self.keeps_values else None
        codes = None if self.next_grid is None else source.new_empty(*source.shape[:3], len(p.scale))
        added = None if residual is None else residual.contiguous(memory_format=torch.channels_last)
        inputs = source, p.weight, p.first_sum, p.grid.padded, p.grid.zero_padded, p.scale, p.bias, added
        convolve(Operands(*inputs, values, codes, p.channels, self.relu, self._sum_grid(), self._next_grid()))
        if values is None or codes is None:
            return next(t for t in (values, codes) if t is not None)
        return values, codes

    def _sum_grid(self) -> "SumGrid | None":
        from srquant.deploy.triton.kernels.launch import SumGrid

        return None if self.sum_points is None else SumGrid(self.sum_points.numbers, self.sum_points.last)

    def _next_grid(self) -> "NextGrid | None":
        from srquant.deploy.triton.kernels.launch import NextGrid

        grid, step = self.next_grid, self.next_step
        if grid is None or step is None:
            return None
        return NextGrid(grid.lower, step, grid.levels - 1, grid.shift, self.multiplies)


def empty_values(source: Tensor, channels: int) -> Tensor:
    """Uninitialised float32 ``N x channels x H x W``, channels last, for codes ``N x H x W x C``."""
    return source.new_empty(*source.shape[:3], channels, dtype=torch.float32).permute(0, 3, 1, 2)
