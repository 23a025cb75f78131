"""Linear layers that make queries, keys and values."""

from torch import Tensor, nn


class Projections(nn.Module):
    """Base of attention with one linear layer ``qkv``, or with three: ``q``, ``k``, ``v``, as in 2DQuant.

    Args:
        features: channels.
        split_qkv: three layers instead of one.
    """

    def __init__(self, features: int, split_qkv: bool) -> None:
        super().__init__()
        self.split_qkv = split_qkv
        if split_qkv:
            self.q, self.k, self.v = (nn.Linear(features, features) for _ in range(3))
        else:
            self.qkv = nn.Linear(features, 3 * features)

    def projections(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of ``... x C``, each of the same shape."""
        if self.split_qkv:
            return self.q(x), self.k(x), self.v(x)
        q, k, v = self.qkv(x).chunk(3, -1)
        return q, k, v
