import pytest
import torch
from torch import nn

from srquant.models.fold_batch_norms import without_batch_norms


@pytest.mark.parametrize("bias", [True, False])
@torch.no_grad()
def test_the_convolution_alone_computes_the_same(bias):
    conv, norm = nn.Conv2d(3, 4, 3, bias=bias), nn.BatchNorm2d(4)
    network = nn.Sequential(conv, norm, nn.Conv2d(4, 2, 1)).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(norm.running_var, 0.1, 4)
    weights = {f"branch.{name}": tensor for name, tensor in network.state_dict().items()}
    folded = without_batch_norms(weights)
    assert folded.keys() == {f"branch.{i}.{part}" for i in (0, 2) for part in ("weight", "bias")}
    alone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Identity(), nn.Conv2d(4, 2, 1))
    alone.load_state_dict({name.removeprefix("branch."): tensor for name, tensor in folded.items()})
    images = torch.rand(1, 3, 8, 8)
    assert torch.allclose(alone(images), network(images), atol=1e-6)
