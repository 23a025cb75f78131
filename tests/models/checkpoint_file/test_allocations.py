"""A network that is built from the shapes in a file doesn't become much larger than the file."""

import pytest
import torch
from torch import nn

from srquant.models.checkpoint_file.allocations import ALWAYS, MOST_TIMES, Allocations
from srquant.models.load import build

SIDE = 4096
"""A linear layer of so many inputs and outputs has twice ``ALWAYS`` weights."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(SIDE, SIDE),
        lambda: torch.zeros(SIDE, SIDE),
        lambda: torch.ones((SIDE, SIDE)),
        lambda: torch.full((SIDE, SIDE), 2.0),
        lambda: torch.randn(SIDE, SIDE),
        lambda: torch.rand(SIDE, SIDE),
        lambda: [nn.Linear(1024, 1024) for _ in range(16)],
    ],
)
def test_large_tensors_are_refused(make):
    with (
        Allocations({"w": torch.zeros(10)}),
        pytest.raises(ValueError, match="more than 8,388,648 numbers, many times"),
    ):
        make()


def test_as_many_as_the_weights_are_allowed():
    assert MOST_TIMES * SIDE**2 + ALWAYS > SIDE**2 + SIDE
    with Allocations({"w": torch.empty(SIDE, SIDE, device="meta")}):
        nn.Linear(SIDE, SIDE)


def test_a_small_checkpoint_of_a_wide_network(tmp_path, complaint):
    weights = build("edsr", {"blocks": 1, "features": 4, "scale": 8}).module.state_dict()
    weights["head.0.weight"] = torch.zeros(1000, 1, 1, 1)
    weights |= {f"tail.0.{i}.weight": torch.zeros(4000, 1, 1, 1) for i in (0, 2, 4)}
    torch.save(weights, tmp_path / "net.pt")
    message = complaint(tmp_path / "net.pt")
    assert message.startswith("looks like edsr, but edsr can't be built with {'blocks': 1, 'features': 1000")
    assert "it would need more than" in message
