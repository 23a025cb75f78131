"""Tiles along one axis cover it once, are of one size, and see enough around what they contribute."""

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srquant.errors import InputError
from srquant.upscale.exported.one_size import in_tiles_of
from srquant.upscale.tiles.spans import MEMORY_LIMIT, Span, contribution, even_size, spans
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
    for tile in checked_tiles(length, size, tiling):
        assert size <= tile.stop - tile.start < size + alignment


@given(
    length=st.integers(1, 400),
    side=st.integers(2, 12).map(lambda eighths: 8 * eighths),
    overlap=st.integers(0, 40),
    alignment=st.sampled_from([1, 2, 4, 8]),
)
def test_engines_of_one_size_get_tiles_of_that_size(length: int, side: int, overlap: int, alignment: int) -> None:
    tiling = in_tiles_of(side, Tiling(overlap, alignment, 1000, exact=True))
    tiles = checked_tiles(length, even_size(length, 1, tiling), tiling)
    assert all(side - alignment < tile.stop - tile.start <= side or len(tiles) == 1 for tile in tiles)
    if length >= side and length % alignment == 0:
        assert tiles[-1].stop - tiles[-1].start == side, "at the end, where padding would be seen"


def checked_tiles(length: int, size: int, tiling: Tiling) -> list[Span]:
    overlap, alignment = tiling.overlap, tiling.alignment
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
    assert [t.start for t in tiles] == sorted(t.start for t in tiles)
    return tiles


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
