"""Fingerprints of networks and files, by which a folder's record knows what made its pictures of what."""

import hashlib
from pathlib import Path

import torch

from srquant.models.network import Network


def fingerprint(network: Network) -> str:
    """SHA-256 of a network's facts and weights, as hexadecimal digits."""
    digest = hashlib.sha256(repr(network.facts).encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
