"""Matrix products of two activations, as in attention, on integers."""

from torch import Tensor, nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.grids.uniform import codes, on_lattice
from srquant.models.blocks.layers import MatrixProduct

LARGEST_SIGNED = 127


class OperandGrid(nn.Module):
    """The grid of one operand of a matrix product: integers ``k + first`` that fit into one byte.

    Args:
        grid: the operand's.
        first: integer of the first grid point: 0 for unsigned bytes, less for signed ones.
    """

    def __init__(self, grid: FrozenGrid, first: int) -> None:
        super().__init__()
        self.grid = grid
        self.first = first

    @property
    def offset(self) -> float:
        """Value of the integer zero."""
        return float(self.grid.lower) - self.grid.step * self.first

    @property
    def code_source(self) -> "OperandGrid":
        """The module whose method ``codes`` gives the codes of the operand: itself."""
        return self

    def codes(self, x: Tensor) -> Tensor:
        """The same integers, under the name that ``measure.cost`` calls."""
        return self.forward(x)

    def forward(self, x: Tensor) -> Tensor:
        """Values to integers as floats, any shape."""
        return codes(x, self.grid.lower, self.grid.upper, self.grid.levels) + self.first


class IntegerMatmul(nn.Module):
    """The product of two matrices of values, computed from their integers ``i`` and ``j``.

    ``(s_a i + o_a)(s_b j + o_b) = s_b (s_a sum(i j) + o_a sum(j)) + o_b sum(s_a i + o_a)``.

    Args:
        left: grid of the first operand.
        right: of the second.
        lattice: spacing of the results, a power of two; None leaves them as they are.
    """

    def __init__(self, left: OperandGrid, right: OperandGrid, lattice: float | None) -> None:
        super().__init__()
        self.steps = left.grid.step, right.grid.step
        self.offsets = left.offset, right.offset
        self.lattice = lattice

    def forward(self, i: Tensor, j: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` integers to ``... x N x M`` values."""
        (left_step, right_step), (left_offset, right_offset) = self.steps, self.offsets
        i, j = i.double(), j.double()
        scaled = right_step * (left_step * (i @ j) + left_offset * j.sum(-2, keepdim=True))
        values = scaled + right_offset * (left_step * i + left_offset).sum(-1, keepdim=True)
        return on_lattice(values, self.lattice).float()


class FrozenMatmul(MatrixProduct):
    """A matrix product of two activations on integers: unsigned or signed bytes times signed bytes.

    Args:
        left: grid of the first operand.
        right: grid of the second.
        lattice: spacing of the results, or None.
    """

    def __init__(self, left: FrozenGrid, right: FrozenGrid, lattice: float | None) -> None:
        super().__init__()
        self.left = OperandGrid(left, _first(left, 0))
        self.right = OperandGrid(right, _first(right, -right.levels // 2))
        self.product = IntegerMatmul(self.left, self.right, lattice)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """``... x N x K`` and ``... x K x M`` values to ``... x N x M`` values."""
        values: Tensor = self.product(self.left(a), self.right(b))
        return values


def _first(grid: FrozenGrid, otherwise: int) -> int:
    """The integer of the first grid point: such that zero is the integer 0, if all integers are signed bytes then."""
    first = -grid.zero_point
    return first if grid.offset == 0 and first + grid.levels - 1 <= LARGEST_SIGNED else otherwise
