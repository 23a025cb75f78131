"""What attention inside windows adds to its scores for the offset between two tokens."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srquant.models.blocks.rectangles import Size
from srquant.models.layout import Weights


class PositionBias(nn.Module):
    """A learned bias per head and offset; key ``table``.

    Args:
        heads: attention heads.
        window: height and width of the windows.
    """

    def __init__(self, heads: int, window: Size) -> None:
        super().__init__()
        height, width = window
        self.table = nn.Parameter(torch.zeros(heads, 2 * height - 1, 2 * width - 1))
        self.window = window

    def forward(self) -> Tensor:
        """``heads x tokens x tokens``: in row ``i`` and column ``j`` the value for token ``i`` minus token ``j``."""
        height, width = self.window
        sums = self.table.unfold(1, height, 1).unfold(2, width, 1)  # in [:, a, b, c, d] the value at (a + c, b + d)
        return sums.flip(3, 4).reshape(-1, height * width, height * width)


def table_of_mlp(weights: Weights, name: str, window: Size) -> Tensor:
    """The table of a network whose biases an MLP computes from the offsets: Wang et al., "CrossFormer", ICLR 2022.

    No picture enters this computation, so that the network with the table is the same.

    Args:
        weights: has ``{name}.pos_proj`` (linear) and ``{name}.pos{1,2,3}.{0,2}`` (layer norm, linear; ReLU between).
        name: of the MLP.
        window: height and width of the windows.

    Returns:
        ``heads x (2*height-1) x (2*width-1)``.
    """
    down, right = (torch.arange(1.0 - size, size) for size in window)
    x = F.linear(torch.cartesian_prod(down, right), *_layer(weights, f"{name}.pos_proj"))
    for stage in ("pos1", "pos2", "pos3"):
        normalised = F.layer_norm(x, x.shape[1:], *_layer(weights, f"{name}.{stage}.0"))
        x = F.linear(normalised.relu(), *_layer(weights, f"{name}.{stage}.2"))
    return x.T.reshape(-1, len(down), len(right))


def _layer(weights: Weights, name: str) -> tuple[Tensor, Tensor]:
    return weights[f"{name}.weight"], weights[f"{name}.bias"]
