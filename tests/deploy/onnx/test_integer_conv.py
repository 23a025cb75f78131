"""Integer convolutions in all their forms, run by ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.deploy.frozen.layers import FrozenConv2d
from srquant.deploy.onnx.integer_conv import split_bias
from srquant.deploy.onnx.model import to_onnx
from srquant.models.network import Facts, Network

GRID = FrozenGrid(torch.tensor(-0.25), torch.tensor(255 * 3 / 256 - 0.25), 256)
UNIT = 2.0**-10

FORMS = {  # C_out, C_in, kernel, stride, padding, dilation, groups -> operator that multiplies
    "3x3": ((5, 6, (3, 3), 1, (1, 1), 1, 1), "Gemm"),
    "1x1": ((5, 6, (1, 1), 1, (0, 0), 1, 1), "Gemm"),
    "strided and wide": ((5, 6, (3, 5), 2, (1, 2), 1, 1), "Gemm"),
    "dilated": ((5, 6, (3, 3), 1, (2, 2), 2, 1), "Gemm"),
    "unpadded": ((5, 6, (3, 3), 1, (0, 0), 1, 1), "Gemm"),
    "few outputs": ((1, 6, (3, 3), 1, (1, 1), 1, 1), "MatMulInteger"),
    "few outputs, wide and dilated": ((1, 6, (3, 5), 1, (2, 1), 2, 1), "MatMulInteger"),
    "few outputs, strided": ((1, 6, (3, 3), 2, (1, 1), 1, 1), "Gemm"),
    "groups": ((4, 6, (3, 3), 1, (1, 1), 1, 2), "ConvInteger"),
}


def network(outputs, inputs, kernel, stride, padding, dilation, groups) -> Network:
    """A convolution whose sums are exact in any order."""
    weight = torch.randint(-127, 128, (outputs, inputs // groups, *kernel), dtype=torch.int8)
    scale, bias = torch.randint(1, 4, (outputs,)) * UNIT, torch.randint(-99, 99, (outputs,)) * UNIT / 2
    window = (stride, stride), padding, (dilation, dilation), groups
    conv = FrozenConv2d(GRID, weight, scale / GRID.step, bias, *window, 8, lattice=UNIT / 4)
    return Network(SixChannels(conv), Facts("custom", 1, 1.0, (), ()))


class SixChannels(nn.Module):
    def __init__(self, conv: FrozenConv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(torch.cat([images, 1 - images], dim=1))
        return result


@pytest.mark.parametrize("unsigned", [False, True], ids=["signed", "unsigned"])
@pytest.mark.parametrize(("form", "operator"), FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_bits(pictures, monkeypatch, form, operator, unsigned):
    monkeypatch.setattr("srquant.deploy.export.lower.safe_on_pair_saturation", lambda *arguments: True)
    made = network(*form)
    model = to_onnx(made, pair_saturation=unsigned)
    kinds = [node.op_type for node in model.graph.node]
    assert [kind for kind in kinds if kind in ("Gemm", "MatMulInteger", "ConvInteger", "Conv")] == [operator]
    images = pictures(2, 13)[..., :11]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"input": images.numpy()})[0], made(images).numpy())


def test_a_bias_is_whole_units_and_a_rest():
    scale = np.array([0.5, 0.25, 0.125, 2.0**-40], np.float32)
    units, rest = split_bias(np.array([1.5, -0.375, 0.0, -1.0], np.float32), scale)
    assert units.tolist() == [3, -2, 0, -(2**30)]
    assert rest.tolist() == [0.0, 0.125, 0.0, 2.0**-10 - 1]
