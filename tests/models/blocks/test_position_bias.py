import torch
from torch import nn

from srquant.models.blocks.position_bias import PositionBias, table_of_mlp


def test_bias_is_that_of_the_offset():
    bias, (height, width) = PositionBias(2, (2, 3)), (2, 3)
    assert bias.table.shape == (2, 3, 5)
    nn.init.normal_(bias.table)
    places = [(y, x) for y in range(height) for x in range(width)]
    for i, (y, x) in enumerate(places):
        for j, (v, u) in enumerate(places):
            assert torch.equal(bias()[:, i, j], bias.table[:, y - v + 1, x - u + 2])


def test_table_has_what_the_mlp_gives_for_each_offset():
    stages = {f"pos{i}": nn.Sequential(nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 3 if i == 3 else 4)) for i in (1, 2, 3)}
    mlp = nn.ModuleDict({"pos_proj": nn.Linear(2, 4)} | stages)
    weights = {f"a.pos.{name}": tensor.detach() for name, tensor in mlp.state_dict().items()}
    table = table_of_mlp(weights, "a.pos", (2, 3))
    assert table.shape == (3, 3, 5)
    for down in (-1, 0, 1):
        for right in (-2, -1, 0, 1, 2):
            x = mlp["pos_proj"](torch.tensor([[down, right]], dtype=torch.float32))
            expected = mlp["pos3"](mlp["pos2"](mlp["pos1"](x)))[0]
            assert torch.allclose(table[:, down + 1, right + 2], expected, atol=1e-6)
