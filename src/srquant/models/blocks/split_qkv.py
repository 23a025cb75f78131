"""Window attention with separate linear layers for queries, keys and values, as in 2DQuant (section 3.1)."""

import torch
from torch import Tensor

from srquant.models.load import build
from srquant.models.network import Network


def split_qkv(network: Network) -> Network:
    """A copy of a float network in which each ``qkv`` layer is replaced by three layers ``q``, ``k`` and ``v``.

    Args:
        network: left unchanged.

    Returns:
        The copy; ``network`` itself if it has no window attention or its layers are already separate.
    """
    facts = network.facts
    if facts.arguments.get("split_qkv") is not False:
        return network
    copy = build(facts.architecture, facts.arguments | {"split_qkv": True})
    weights: dict[str, Tensor] = {}
    for name, tensor in network.module.state_dict().items():
        weights |= _split(name, tensor)
    copy.module.load_state_dict(weights)
    return copy.to(next(network.parameters()).device).train(network.training)


def _split(name: str, tensor: Tensor) -> dict[str, Tensor]:
    before, fused, after = name.rpartition(".qkv.")
    if not fused:
        return {name: tensor}
    return {f"{before}.{part}.{after}": rows for part, rows in zip("qkv", torch.chunk(tensor, 3), strict=True)}
