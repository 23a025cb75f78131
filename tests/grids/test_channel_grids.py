"""Grids per channel, row by row, against the same grids on whole tensors."""

import pytest
import torch

from srquant.grids import pieces
from srquant.grids.channel_grids import as_rows, has_rows
from srquant.grids.uniform import fake_quantize

LEVELS = 4


def learned(x, lower, upper):
    """Grid points, and the gradients of a weighted sum of them."""
    values = [
        tensor.detach().clone(memory_format=torch.preserve_format).requires_grad_() for tensor in (x, lower, upper)
    ]
    points = fake_quantize(*values, LEVELS)
    weights = torch.arange(points.numel()).view(points.shape).float().sin()
    return points.detach(), *torch.autograd.grad((points * weights).sum(), values)


@pytest.fixture(params=[(5, 1, 1), (5,)], ids=["convolution", "linear"])
def case(request):
    """Values of five channels, some outside the bounds; by rows, and in an order that has none."""
    shape = request.param
    x = 2 * torch.randn(2, 5, 7, 6) if len(shape) == 3 else 2 * torch.randn(2, 9, 5)
    lower, upper = -torch.rand(shape) - 0.1, torch.rand(shape) + 0.1
    return (x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x), lower, upper


def without_rows(x):
    """The same values in a memory order that can't be viewed as rows."""
    return x.contiguous() if x.dim() == 4 else x.transpose(0, 1).contiguous().transpose(0, 1)


def test_rows_give_the_points_and_gradients_of_whole_tensors(case, monkeypatch):
    x, lower, upper = case
    monkeypatch.setattr(pieces, "PIECE", 20)
    assert has_rows(x, lower)
    assert not has_rows(without_rows(x), lower)
    for by_rows, whole in zip(learned(x, lower, upper), learned(without_rows(x), lower, upper), strict=True):
        assert torch.allclose(by_rows, whole, rtol=1e-4, atol=1e-5)


def test_a_row_holds_the_channels_of_one_pixel():
    x = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    assert torch.equal(as_rows(x, torch.zeros(3, 1, 1))[7], x[0, :, 1, 2])


def test_one_grid_for_all_channels_has_no_rows():
    assert not has_rows(torch.zeros(2, 3), torch.tensor(0.0))
