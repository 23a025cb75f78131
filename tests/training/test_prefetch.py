"""Batches come in order, are made ahead, and are shared out to the processes."""

import threading

import pytest
import torch

from srquant.data.pairs import PairSet
from srquant.training.prefetch import batches, prefetch


def test_order_and_number():
    assert list(prefetch(lambda step: step * step, range(3, 20), threads=4)) == [step * step for step in range(3, 20)]


def test_more_are_made_before_they_are_asked_for():
    made = [threading.Event() for _ in range(10)]
    feed = prefetch(lambda step: made[step].set(), range(10), threads=2)
    next(feed)
    assert all(event.wait(10) for event in made[:5])
    assert not made[9].is_set()
    feed.close()


def test_errors_come_with_their_batch():
    feed = prefetch(lambda step: 1 // (step - 2), range(5), threads=1)
    assert [next(feed), next(feed)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(feed)


def test_processes_share_the_batch_of_one(smooth_pictures):
    pairs = PairSet((smooth_pictures(3, 20, 22),), 2, patch=6)
    alone = list(batches(pairs, range(2, 5), 4, rank=0, processes=1))
    shares = [list(batches(pairs, range(2, 5), 2, rank, processes=2)) for rank in range(2)]
    for whole, *parts in zip(alone, *shares, strict=True):
        for side in range(2):
            assert torch.equal(whole[side], torch.cat([part[side] for part in parts]))
