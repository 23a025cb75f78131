"""Small quantized networks in the Triton engine, whose kernels Triton interprets; called by ``test_triton_engine.py``.

    TRITON_INTERPRET=1 python triton_cases.py CASE

It prints how many convolutions became kernels and how many of these give codes.
"""

import sys

import numpy as np
import torch
from torch import fx

from srquant.deploy.frozen.freeze import freeze
from srquant.deploy.triton.convolution import Convolution
from srquant.grids.range_rules import minmax, symmetric_max
from srquant.insertion.collect_ranges import Collection, activation_bounds
from srquant.insertion.insert_quantizers import insert_quantizers
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import Origin, QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.models.load import build
from srquant.models.network import Network, modules_of
from srquant.upscale.engines.open_engine import open_engine
from srquant.upscale.engines.openvino_engine import OpenVINOEngine
from srquant.upscale.engines.torch_engine import TorchEngine
from srquant.upscale.engines.triton_engine import TritonEngine

EDSR = {"blocks": 2, "features": 8}
CASES = {
    "edsr 2 bits": ("edsr", EDSR, Policy(LayerBits(2, 2))),
    "edsr 3 bits, grids per channel": ("edsr", EDSR, Policy(LayerBits(3, 3), activation_granularity="channel")),
    "edsr 4 bits, 8-bit skips": ("edsr", EDSR, Policy(LayerBits(4, 4), skip_bits=8)),
    "edsr 8 bits, 40 channels": ("edsr", EDSR | {"features": 40}, Policy(LayerBits(8, 8))),
    "rnet 4 bits": ("rnet", EDSR, Policy(LayerBits(4, 4))),
    "carn 4 bits": ("carn", {"features": 8}, Policy(LayerBits(4, 4))),
    "msrresnet 4 bits": ("msrresnet", EDSR, Policy(LayerBits(4, 4))),
}
"""ReLU after the sum: rnet. Convolutions of 1x1 that stay with PyTorch: carn. Values off the lattice: msrresnet."""

SAME = 1e-6
"""Of the value range: OpenVINO folds the last factor into a convolution; a wrong code would change more than this."""


def frozen(architecture: str, arguments: dict[str, int], policy: Policy) -> Network:
    network = build(architecture, arguments).eval()
    plan, pictures = resolve(network, policy), [torch.rand(2, 3, 16, 16)]
    bounds = activation_bounds(network, plan, pictures, Collection(minmax, None))
    student = insert_quantizers(network, plan, bounds, symmetric_max)
    settle(student)
    return freeze(QuantizedModel(student, policy, Origin("minmax"))).network


def main() -> None:
    case = sys.argv[1]
    torch.manual_seed(0)
    network = frozen(*CASES[case])
    images = np.random.default_rng(0).random((2, 3, 9, 13), np.float32)
    engine = open_engine("triton", network)
    assert isinstance(engine, TritonEngine)
    assert isinstance(engine.run, fx.GraphModule)
    result = engine(images)
    np.testing.assert_array_equal(result, TorchEngine(network)(images))
    if not case.startswith("msrresnet"):
        np.testing.assert_allclose(result, OpenVINOEngine(network, 1)(images), rtol=0, atol=SAME)
    kernels = modules_of(engine.run, Convolution).values()
    print(sum(k.next_grid is not None for k in kernels), len(kernels), len(engine.float_layers()))


if __name__ == "__main__":
    main()
