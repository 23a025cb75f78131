"""Fingerprints of networks, by which a folder's record knows what made its pictures of what."""

import hashlib

from srquant.models.network import Network, bytes_of


def fingerprint(network: Network, engine: str) -> str:
    """SHA-256 of a network's facts and weights and of the precision behind an engine's name, as hexadecimal digits."""
    digest = hashlib.sha256((repr(network.facts) + precision_in(engine)).encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(bytes_of(tensor))
    return digest.hexdigest()


def precision_in(engine: str) -> str:
    """``bfloat16`` of ``openvino bfloat16``; nothing of the names of engines that compute exactly or in float32."""
    return engine.partition(" ")[2]
