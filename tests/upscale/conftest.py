import pytest
import torch
from torch import nn

from srquant.models.architectures.edsr import EDSR, facts
from srquant.models.network import Facts, Network
from srquant.upscale.engines.torch_engine import TorchEngine


@pytest.fixture(scope="session")
def network() -> Network:
    torch.manual_seed(0)
    return Network(EDSR(1, 8, 2), facts(1, 8, 2))


@pytest.fixture(scope="session")
def engine(network: Network) -> TorchEngine:
    return TorchEngine(network)


@pytest.fixture(scope="session")
def bilinear() -> TorchEngine:
    """Smooth output, which lossy formats keep."""
    return TorchEngine(Network(nn.Upsample(scale_factor=2, mode="bilinear"), Facts("custom", 2, 1.0, (), ())))
