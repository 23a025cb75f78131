"""The gradient of a weight bound along one direction is the one through every weight."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from srquant.grids.weight_bound_gradient import quantize_with_slope
from srquant.quantizers.base import ActivationQuantizer, WeightQuantizer
from srquant.quantizers.layers import QuantConv2d


@pytest.mark.parametrize("shape", [(), (6, 1, 1, 1)], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("channels", [1, 2], ids=["plain", "groups"])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("bits", "symmetric"), [(4, True), (8, False)])
def test_same_as_through_every_weight(shape, channels, layout, bits, symmetric):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, padding=1, groups=channels).requires_grad_(False)
    x = torch.randn(2, 4, 9, 7).contiguous(memory_format=layout).requires_grad_(True)
    activation = ActivationQuantizer(torch.tensor(-1.0), torch.tensor(1.5), 4)
    bound = (0.7 * layer.weight.abs().max()).expand(shape)
    quantizer = WeightQuantizer(-bound, bound, bits, symmetric)
    learned = [x, quantizer.upper, activation.lower, activation.upper]
    output = QuantConv2d(layer, activation, quantizer)(x)
    expected = F.conv2d(activation(F.pad(x, (1, 1, 1, 1))), quantizer(layer.weight), layer.bias, groups=channels)
    assert torch.equal(output, expected)
    given = torch.randn_like(output)
    gradients, wanted = (torch.autograd.grad(y, learned, given) for y in (output, expected))
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-4, atol=1e-4)


def test_points_and_slopes_by_hand():
    """On -0.5, 0, 0.5: 0.4 becomes the upper bound and moves by its distance in bounds, what is outside by all."""
    weight = torch.tensor([0.4, -0.1, 2.0, -2.0]).view(1, 4, 1, 1).requires_grad_(True)
    points, slope = quantize_with_slope(weight, torch.tensor(0.5, requires_grad=True), 3)
    assert points.flatten().tolist() == [0.5, 0.0, 0.5, -0.5]
    assert slope.flatten().tolist() == pytest.approx([0.2, 0.2, 1.0, -1.0])
    assert not points.requires_grad
    assert not slope.requires_grad
