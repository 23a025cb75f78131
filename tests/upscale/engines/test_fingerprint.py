import numpy as np

from srquant.models.network import Network
from srquant.upscale.engines.fingerprint import fingerprint


def test_fingerprint_sees_every_weight(network: Network) -> None:
    before = fingerprint(network)
    assert fingerprint(network) == before
    bias = network.module.get_parameter("tail.1.bias").detach()
    value = float(bias[0])
    bias[0] = float(np.nextafter(np.float32(value), np.float32(9)))
    assert fingerprint(network) != before
    bias[0] = value
    assert fingerprint(network) == before
