import pytest
import torch

from srquant.models.edsr import EDSR, facts
from srquant.models.network import Network
from srquant.upscale.engines import TorchEngine


@pytest.fixture(scope="session")
def network() -> Network:
    torch.manual_seed(0)
    return Network(EDSR(1, 8, 2), facts(1, 8, 2))


@pytest.fixture(scope="session")
def engine(network: Network) -> TorchEngine:
    return TorchEngine(network)
