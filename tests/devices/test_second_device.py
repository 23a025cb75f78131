"""The second device of these tests refuses what CUDA refuses."""

import pytest
import torch

MIXED = "on both devices|same device"


@pytest.mark.parametrize(
    "operation",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.stack([x[0], torch.tensor(1.0)]),
        lambda x: x.quantile(torch.tensor([0.1])),
        lambda x: torch.arange(3)[x.long()],
        lambda x: torch.where(torch.ones(3, dtype=torch.bool), x, x),
    ],
)
def test_tensors_of_two_devices_do_not_mix(second_device, operation):
    with pytest.raises(RuntimeError, match=MIXED):
        operation(torch.ones(3, device=second_device))


def test_numpy_can_not_read_its_tensors(second_device):
    with pytest.raises((RuntimeError, TypeError)):
        torch.ones(3, device=second_device).numpy()


def test_it_computes(second_device):
    x = torch.arange(3.0).to(second_device)
    assert (x + torch.tensor(1.0)).tolist() == [1, 2, 3]
    assert float(x.sum()) == 3
    assert (2 * x).device == second_device
    assert torch.equal((2 * x).cpu(), torch.tensor([0.0, 2, 4]))
