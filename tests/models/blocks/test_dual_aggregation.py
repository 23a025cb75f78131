import pytest
import torch
from torch.export import Dim, export

from srquant.models.blocks.dual_aggregation import ChannelAttention, SpatialAttention
from srquant.models.hooks import kept_inputs

ATTENTION = {
    "in windows": SpatialAttention(16, 2, (2, 4), shifted=False, split_qkv=False),
    "in moved windows": SpatialAttention(16, 2, (2, 4), shifted=True, split_qkv=False),
    "between channels": ChannelAttention(16, 2, split_qkv=False),
}


@pytest.mark.parametrize("attention", list(ATTENTION.values())[1:], ids=list(ATTENTION)[1:])
@torch.no_grad()
def test_torch_exports_one_program_for_many_sizes(attention):
    program = export(
        attention, (torch.rand(2, 12, 9, 16),), dynamic_shapes=({1: Dim.DYNAMIC, 2: Dim.DYNAMIC},)
    ).module()
    for size in ((12, 9), (5, 8), (17, 21)):
        x = torch.rand(2, *size, 16)
        assert torch.allclose(program(x), attention(x), atol=1e-6)


@pytest.mark.parametrize("attention", ATTENTION.values(), ids=ATTENTION)
@torch.inference_mode()
def test_tokens_of_any_number(attention):
    for shape in ((1, 1, 1, 16), (2, 3, 9, 16), (1, 8, 4, 16)):
        assert attention(torch.rand(shape)).shape == shape


@torch.inference_mode()
def test_operands_between_channels_have_one_range_at_all_sizes():
    attention = ATTENTION["between channels"]
    with kept_inputs(attention.qk) as queries:
        for side in (8, 40):
            attention(torch.randn(1, side, side, 16))
    assert all(torch.allclose(q.square().mean(-1), torch.ones(1), atol=1e-4) for q in queries)
