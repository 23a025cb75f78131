"""Some thousand damaged files; ``benchmarks/abuse.py`` tries more."""

import random
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MOST_GROWTH_MB = 300
COUNT = 300


@pytest.fixture(scope="module")
def abuse():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import abuse

        yield abuse
    finally:
        sys.path.remove(str(BENCHMARKS))


def test_damage_is_refused_or_harmless(abuse):
    for kind in abuse.KINDS:
        row = abuse.measure(kind, COUNT)
        assert (row.failed, row.failures) == (0, ())
        assert row.tried == row.refused + row.taken == COUNT
        assert row.refused > COUNT / 20
        assert row.growth_mb < MOST_GROWTH_MB


def test_other_errors_count_as_failures(abuse, monkeypatch):
    def broken(folder):
        def attempt(chance):
            if chance.random() < 0.5:
                raise KeyError("weight")
            return True

        return attempt

    monkeypatch.setitem(abuse.KINDS, "picture", broken)
    row = abuse.measure("picture", 40)
    assert row.failed == 40 - row.refused > 5
    assert row.failures[0].endswith("KeyError: 'weight'")


def test_the_same_seed_damages_alike(abuse):
    from abuse_kinds import damaged

    content = bytes(range(200))
    assert damaged(content, random.Random(5)) == damaged(content, random.Random(5)) != content
