"""Some random networks; ``benchmarks/abuse.py`` tries more."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from srquant.models.network import Facts, Network


@pytest.mark.parametrize(
    ("kind", "count"), [("random network, exact steps", 1), ("random network, float functions", 2)]
)
def test_all_forms_of_a_network_give_one_picture(abuse, kind, count):
    row = abuse.measure(kind, count)
    assert (row.failed, row.failures) == (0, ())
    assert row.taken > count / 2
    assert row.ties == 0 or "float" in kind


class Rounded(nn.Module):
    """Quarters of what tanh gives."""

    def __init__(self):
        super().__init__()
        self.curve = nn.Tanh()

    def forward(self, images):
        return (self.curve(images) * 4).round() / 4


def pictures(ties):
    """A network, a picture of 300 values, some of which come to lie on a tie, and what the network makes of it."""
    frozen = Network(Rounded(), Facts("custom", 1, 1.0, (), ()))
    images = torch.full((1, 3, 10, 10), 0.5)
    images.view(-1)[:ties] = math.atanh(0.125)
    return frozen, images, frozen(images).numpy()


def test_equal_pictures_have_no_ties(abuse):
    from abuse_networks import has_ties

    frozen, images, wanted = pictures(ties=1)
    assert not has_ties(wanted + 0.9 / 255, wanted, frozen, images)


def test_a_value_on_a_tie_may_be_the_other_one(abuse):
    from abuse_networks import has_ties

    frozen, images, wanted = pictures(ties=1)
    found = wanted.copy()
    found.flat[0] = 0.25 - found.flat[0]
    assert has_ties(found, wanted, frozen, images)


def test_other_values_may_not(abuse):
    from abuse_attempt import WrongPicture
    from abuse_networks import has_ties

    frozen, images, wanted = pictures(ties=1)
    found = wanted.copy()
    found.flat[[0, 1]] = 0.0, 0.25
    with pytest.raises(WrongPicture, match="1 of them not by ties"):
        has_ties(found, wanted, frozen, images)


def test_many_ties_are_too_many(abuse):
    from abuse_attempt import WrongPicture
    from abuse_networks import has_ties

    frozen, images, wanted = pictures(ties=10)
    found = wanted.copy()
    found.flat[:10] = 0.25 - found.flat[:10]
    with pytest.raises(WrongPicture, match="10 values differ by more than a level, 0 of them not by ties"):
        has_ties(found, wanted, frozen, images)


def test_networks_with_exact_steps_may_have_none(abuse, monkeypatch, tmp_path):
    import abuse_networks

    monkeypatch.setattr(abuse_networks, "compared", lambda *given: True)
    assert abuse_networks.of_networks(tmp_path, exact=False)(random.Random(0)) == "tie"
    with pytest.raises(abuse_networks.WrongPicture, match="without a float function"):
        abuse_networks.of_networks(tmp_path, exact=True)(random.Random(0))


def test_the_same_seed_draws_the_same_network(abuse):
    from abuse_random_network import random_network

    images = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    drawn = [random_network(random.Random(seed), False, images)[0](images).detach().numpy() for seed in (3, 3, 4)]
    assert np.array_equal(drawn[0], drawn[1])
    assert drawn[0].shape != drawn[2].shape or not np.array_equal(drawn[0], drawn[2])
