"""Tiles along one axis cover it once, are of one size, and see enough around what they contribute."""

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srquant.errors import InputError
from srquant.upscale.tiles.spans import MEMORY_LIMIT, contribution, even_size, spans
from srquant.upscale.tiles.tiling import Tiling


@given(
    length=st.integers(1, 400),
    own=st.integers(1, 120),
    overlap=st.integers(0, 40),
    alignment=st.sampled_from([1, 2, 4, 8]),
)
def test_spans_cover_once_and_see_enough(length: int, own: int, overlap: int, alignment: int) -> None:
    tiling = Tiling(overlap, alignment, 1000, exact=True)
    size = even_size(length, own, tiling)
    tiles = list(spans(length, size, overlap, alignment))
    assert [t.own_start for t in tiles] == [0, *(t.own_stop for t in tiles[:-1])]
    assert tiles[-1].own_stop == length
    for tile in tiles:
        assert tile.own_start < tile.own_stop
        assert 0 <= tile.start <= tile.own_start
        assert tile.own_stop <= tile.stop <= length
        assert tile.start == 0 or tile.own_start - tile.start >= overlap
        assert tile.stop == length or tile.stop - tile.own_stop == overlap
        assert tile.start % alignment == 0
        assert size <= tile.stop - tile.start < size + alignment
    assert [t.start for t in tiles] == sorted(t.start for t in tiles)


def test_short_axis_is_one_tile() -> None:
    assert even_size(50, own=30, tiling=Tiling(10, 1, 1000, exact=True)) == 50


def test_tiles_are_evened_out() -> None:
    assert even_size(101, own=100, tiling=Tiling(0, 1, 1000, exact=True)) == 51


@pytest.mark.parametrize("available", [1, 64 * 2**20, 8 * 2**30, 2**40])
def test_auto_tile_stays_within_its_share(available: int, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = psutil.virtual_memory()._replace(available=available)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    tiling = Tiling(20, 1, 4096, exact=True)
    own = contribution("auto", tiling)
    smallest = tiling.overlap
    assert own == smallest or (own + 40) ** 2 * 4096 <= min(MEMORY_LIMIT, available / 4)


def test_auto_tile_does_not_follow_free_memory_where_tiles_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = set()
    for available in (64 * 2**20, 2**40):
        memory = psutil.virtual_memory()._replace(available=available)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        sides.add(contribution("auto", Tiling(32, 32, 4096, exact=False)))
    assert len(sides) == 1


def test_empty_tile_is_refused() -> None:
    with pytest.raises(InputError, match="--tile auto"):
        contribution(0, Tiling(1, 1, 1, exact=True))
