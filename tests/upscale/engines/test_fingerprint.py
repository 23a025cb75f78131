import numpy as np

from srquant.models.network import Network
from srquant.upscale.engines.fingerprint import fingerprint


def test_fingerprint_sees_every_weight(network: Network) -> None:
    before = fingerprint(network, "torch")
    assert fingerprint(network, "torch") == before
    bias = network.module.get_parameter("tail.1.bias").detach()
    value = float(bias[0])
    bias[0] = float(np.nextafter(np.float32(value), np.float32(9)))
    assert fingerprint(network, "torch") != before
    bias[0] = value
    assert fingerprint(network, "torch") == before


def test_fingerprint_sees_the_precision(network: Network) -> None:
    exact = {fingerprint(network, name) for name in ("torch", "openvino", "onnxruntime")}
    assert len(exact | {fingerprint(network, name) for name in ("torch float16", "openvino bfloat16")}) == 3
