"""Some random networks; ``benchmarks/abuse.py`` tries more."""

import math
import random

import abuse
import abuse_networks
import numpy as np
import pytest
import torch
from abuse_attempt import WrongPicture
from abuse_networks import has_ties
from abuse_random_network import random_network
from abuse_ties import codes_on_ties
from torch import nn

from srquant.deploy.frozen.grid import FrozenGrid
from srquant.models.network import Facts, Network


@pytest.mark.parametrize(
    ("kind", "count"), [("random network, exact steps", 1), ("random network, float functions", 2)]
)
def test_all_forms_of_a_network_give_one_picture(kind, count):
    row = abuse.measure(kind, count)
    assert (row.failed, row.failures) == (0, ())
    assert row.taken > count / 2
    assert row.ties == 0 or "float" in kind


class Rounded(nn.Module):
    """Codes 0 to 15 of what tanh gives, in tenths."""

    def __init__(self):
        super().__init__()
        self.curve, self.grid = nn.Tanh(), FrozenGrid(torch.tensor(0.0), torch.tensor(1.5), 16)

    def forward(self, images):
        return self.grid.dequantize(self.grid(self.curve(images)))


def pictures(ties):
    """A network, a picture of 300 values, some of which come to lie on a tie, and what the network makes of it."""
    frozen = Network(Rounded(), Facts("custom", 1, 1.0, (), ()))
    images = torch.full((1, 3, 10, 10), 0.5)
    images.view(-1)[:ties] = math.atanh(0.25)
    return frozen, images, frozen(images).numpy()


def other_code(value):
    return 0.3 if value < 0.25 else 0.2


def test_equal_pictures_have_no_ties():
    frozen, images, wanted = pictures(ties=1)
    assert not has_ties(wanted + 0.9 / 255, wanted, frozen, images)


def test_values_on_ties_may_have_the_other_code():
    frozen, images, wanted = pictures(ties=5)
    found = wanted.copy()
    found.flat[1:4] = [other_code(value) for value in found.flat[1:4]]
    assert has_ties(found, wanted, frozen, images)
    count, nearest = codes_on_ties(found, frozen, images)
    assert count == 3
    np.testing.assert_allclose(nearest, found, atol=1e-6)
    assert np.array_equal(frozen(images).numpy(), wanted)


def test_other_values_may_not():
    frozen, images, wanted = pictures(ties=1)
    found = wanted.copy()
    found.flat[[0, 1]] = other_code(found.flat[0]), found.flat[1] + 0.1
    with pytest.raises(WrongPicture, match="2 values differ by more than a level, 1 of them when 1 codes are moved"):
        has_ties(found, wanted, frozen, images)


def test_many_values_may_not():
    frozen, images, wanted = pictures(ties=40)
    found = wanted.copy()
    found.flat[:40] = [other_code(value) for value in found.flat[:40]]
    with pytest.raises(WrongPicture, match="40 values differ by more than a level, 8 of them when 32 codes are moved"):
        has_ties(found, wanted, frozen, images)


def test_networks_with_exact_steps_may_have_none(monkeypatch, tmp_path):
    monkeypatch.setattr(abuse_networks, "compared", lambda *given: True)
    assert abuse_networks.of_networks(tmp_path, exact=False)(random.Random(0)) == "tie"
    with pytest.raises(WrongPicture, match="without a float function"):
        abuse_networks.of_networks(tmp_path, exact=True)(random.Random(0))


def test_the_same_seed_draws_the_same_network():
    images = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    drawn = [random_network(random.Random(seed), False, images)[0](images).detach().numpy() for seed in (3, 3, 4)]
    assert np.array_equal(drawn[0], drawn[1])
    assert drawn[0].shape != drawn[2].shape or not np.array_equal(drawn[0], drawn[2])
