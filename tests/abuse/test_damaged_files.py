"""Some thousand damaged files; ``benchmarks/abuse.py`` tries more."""

import random

import abuse
from abuse_files import damaged
from abuse_kinds import DAMAGED

MOST_GROWTH_MB = 300
COUNT = 300


def test_damage_is_refused_or_harmless():
    for kind in DAMAGED:
        row = abuse.measure(kind, COUNT)
        assert (row.failed, row.failures) == (0, ())
        assert row.tried == row.refused + row.taken == COUNT
        assert row.refused > COUNT / 20
        assert row.growth_mb < MOST_GROWTH_MB


def test_other_errors_count_as_failures(monkeypatch):
    def broken(folder):
        def attempt(chance):
            if chance.random() < 0.5:
                raise KeyError("weight")
            return "refused"

        return attempt

    monkeypatch.setitem(abuse.KINDS, "picture", broken)
    row = abuse.measure("picture", 40)
    assert row.failed == 40 - row.refused > 5
    assert row.failures[0].endswith("KeyError: 'weight'")


def test_the_same_seed_damages_alike():
    content = bytes(range(200))
    assert damaged(content, random.Random(5)) == damaged(content, random.Random(5)) != content
