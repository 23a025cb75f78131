"""Check that a traced graph holds for pictures of a size that wasn't traced."""

import torch
from torch import nn

from srquant.errors import first_line
from srquant.models.graph.refusal import other_result
from srquant.models.network import Network, device_of

SIZE = (84, 45)
"""Rows and columns, extended to a valid size; so many rows that networks with windows of 64 get a second one."""

MOST = 1e-3
"""Mean difference divided by the mean value; one code of a quantized layer that rounds otherwise is far below."""


@torch.no_grad()
def check_other_size(graph: nn.Module, network: Network) -> None:
    """Compare a graph with its network on a picture of noise.

    Some operators' traces keep the traced size as a number, without a word (``adaptive_max_pool2d`` of PyTorch 2.13).

    Raises:
        EngineError: the graph can't run, or gives something else.
    """
    facts, random = network.facts, torch.Generator().manual_seed(0)
    height, width = (size + facts.padding(size) for size in SIZE)
    image = torch.rand(1, 3, height, width, generator=random).mul_(facts.value_range).to(device_of(network))
    try:
        expected = network.module(image.clone())
    except RuntimeError:  # it takes pictures of some sizes only
        return
    try:
        found = graph(image.clone())
    except RuntimeError as error:
        raise other_result(facts.architecture, height, width, first_line(error)) from error
    same = found.shape == expected.shape
    difference = float((found - expected).abs().mean() / expected.abs().mean()) if same else float("inf")
    if not difference <= MOST:
        raise other_result(facts.architecture, height, width, f"difference {difference:.2g}")
