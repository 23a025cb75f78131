"""Tiny random networks, quantized from random pictures without a method."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from srquant.models.load import build
from srquant.models.network import Network
from srquant.quant.insert import insert_quantizers
from srquant.quant.policy import Policy
from srquant.quant.ranges import minmax, symmetric_max
from srquant.quant.statistics import Collection, activation_bounds

TINY = {
    "edsr": {"blocks": 2, "features": 8},
    "rnet": {"blocks": 2, "features": 8},
    "carn": {"features": 8},
    "msrresnet": {"blocks": 2, "features": 8},
    "compact": {"convolutions": 4, "features": 8},
}


@pytest.fixture
def tiny() -> Callable[[str], Network]:
    return lambda architecture: build(architecture, TINY[architecture]).eval()


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """Random 8-bit pictures in [0, 1]."""

    def make(count: int = 4, side: int = 12, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (count, 3, side, side), generator=generator) / 255

    return make


@pytest.fixture
def quantized(pictures: Callable[..., Tensor]) -> Callable[[Network, Policy], Network]:
    """Quantized with min-max ranges, not settled."""

    def quantize(network: Network, policy: Policy) -> Network:
        bounds = activation_bounds(network, policy, [pictures()], Collection(minmax, None))
        return insert_quantizers(network, policy, bounds, symmetric_max if policy.symmetric_weights else minmax)

    return quantize
