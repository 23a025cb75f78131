"""A tiny ResNet-18 whose batch norms do something."""

import pytest
import torch
from torch import Tensor, nn

from srquant.classify.resnet import ResNet18


@pytest.fixture
def network() -> ResNet18:
    """Width 4, 5 classes, random statistics and gains."""
    torch.manual_seed(0)
    network = ResNet18(4, 5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.2)
    return network.eval()


@pytest.fixture
def images() -> Tensor:
    """24 random pictures."""
    return torch.randn(24, 3, 24, 24, generator=torch.Generator().manual_seed(1))
