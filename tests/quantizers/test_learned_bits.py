"""Every activation quantizer with bounds takes learned bits, as its base does."""

import pytest
import torch

from srquant.methods.ddtb.gate import TrainableBoundsQuantizer
from srquant.methods.pams.quantizer import PamsQuantizer
from srquant.quantizers.dan import DANQuantizer
from srquant.quantizers.plq import PLQuantizer
from srquant.quantizers.shifted import ShiftedQuantizer
from srquant.quantizers.symmetric import SymmetricQuantizer

LOWER, UPPER = torch.tensor(-1.5), torch.tensor(2.0)
MAKERS = {
    "symmetric": lambda bits: SymmetricQuantizer(UPPER, bits),
    "pams": lambda bits: PamsQuantizer(UPPER, bits),
    "pams that observes": lambda bits: PamsQuantizer(UPPER, bits, momentum=0.5),
    "plq, two tails": lambda bits: PLQuantizer(LOWER, torch.tensor(0.5), UPPER, bits),
    "plq, one tail": lambda bits: PLQuantizer(torch.tensor(0.0), torch.tensor(0.5), UPPER, bits),
    "dual bounds": lambda bits: TrainableBoundsQuantizer(LOWER, UPPER, bits),
    "shifted": lambda bits: ShiftedQuantizer(-UPPER, UPPER, bits, torch.full((3, 1, 1), 0.25)),
    "dan": lambda bits: DANQuantizer(bits, channel_axis=1),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("bits", [3, 4, 5])
def test_gives_the_points_of_a_quantizer_of_these_bits(kind, bits):
    """Beside ties, where the last bit of a float decides."""
    x = torch.randn(4, 3, 16, 16) * 1.5
    given, wanted = MAKERS[kind](4)(x, torch.tensor(float(bits))), MAKERS[kind](bits)(x)
    assert ((given - wanted).abs() < 1e-5).float().mean() > 0.999


@pytest.mark.parametrize("kind", MAKERS)
def test_learned_bits_get_a_gradient(kind):
    bits = torch.tensor(4.0, requires_grad=True)
    x = torch.randn(4, 3, 16, 16, requires_grad=True)
    MAKERS[kind](4)(x, bits).square().sum().backward()
    if kind == "pams that observes":
        assert bits.grad is None, "it learns nothing while it observes"
    else:
        assert bits.grad.isfinite()
        assert bits.grad != 0
