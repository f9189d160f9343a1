"""Filters that are stored and read in one piece: the same store as one that was told of them one by one."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phasegate.consensus.packed import Packed
from phasegate.consensus.params import SIMNET
from phasegate.store import PackedFilters, PutFilters, RollBackFilters, Store, StoreCorrupt
from phasegate.store.segments import FILTERS_SPAN, SPAN
from tests.store.conftest import FakeChain

END = 3300


@pytest.fixture(scope="module")
def chain() -> FakeChain:
    return FakeChain(END + 1)


def opened(place: Path, chain: FakeChain) -> Store:
    store = Store.open(place, SIMNET)
    store.commit([chain.append(1, END), chain.append_filter_headers(0, END + 1)])
    return store


def packed(chain: FakeChain, heights: range) -> PackedFilters:
    return PackedFilters(heights.start, Packed.of([chain.filter(height) for height in heights]))


def read_back(store: Store, start: int, count: int) -> list[bytes]:
    """The filters of the pieces, after the hashes were compared."""
    pieces = list(store.packed_filters(start, count))
    assert b"".join([hashes for hashes, _ in pieces]) == store.hashes(start, count)
    assert all(len(hashes) == 32 * len(filters) for hashes, filters in pieces)
    return [raw for _, filters in pieces for raw in filters]


def tables(store: Store) -> list[object]:
    with store._database.snapshot() as rows:
        found = rows.run("SELECT start, count, crc, data FROM segments WHERE series = 4 ORDER BY start")
        return [found, rows.run("SELECT height, crc, data FROM tail WHERE series = 4 ORDER BY height")]


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.sampled_from([1, 40, 499, 500, 999, 1000, 1001, 2000]), min_size=1, max_size=6))
def test_the_tables_are_those_of_single_filters(
    tmp_path_factory: pytest.TempPathFactory, chain: FakeChain, cuts: list[int]
) -> None:
    """Batch by batch, wherever the borders of segments lie; and each reads back, in one piece too."""
    place = tmp_path_factory.mktemp("packed")
    one, many = opened(place / "one", chain), opened(place / "many", chain)
    start = 0
    for count in cuts:
        heights = range(start, min(start + count, END + 1))
        one.commit([chain.put_filters(heights)])
        many.commit([PutFilters(packed(chain, heights))])
        assert many.marks == one.marks
        start = heights.stop
    assert tables(many) == tables(one)
    assert many.digest() == one.digest()
    for first, count in ((0, start), (start // 3, start // 2), (start - 1, 1), (0, 0)):
        assert read_back(many, first, count) == many.filters(first, count)
    one.close()
    many.close()


def test_those_that_do_not_follow_wait_as_single_ones_do(tmp_path: Path, chain: FakeChain) -> None:
    store = opened(tmp_path, chain)
    assert store.commit([PutFilters(packed(chain, range(600, 700)))]).filters == -1
    assert store.commit([PutFilters(packed(chain, range(650)))]).filters == 699
    assert store.commit([PutFilters(packed(chain, range(500, 710)))]).filters == 709
    assert store.filters(0, 710) == [chain.filter(height) for height in range(710)]
    store.close()


def test_none_is_stored_above_the_filter_headers(tmp_path: Path, chain: FakeChain) -> None:
    store = opened(tmp_path, chain)
    with pytest.raises(ValueError, match="is not wanted or has no stored filter header"):
        store.commit([PutFilters(packed(FakeChain(END + 2), range(END + 2)))])
    assert store.marks.filters == -1
    store.close()


def test_segments_of_an_older_release_are_read_and_followed(
    tmp_path: Path, chain: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were cut at multiples of 2000."""
    store = opened(tmp_path, chain)
    with monkeypatch.context() as older:
        older.setattr("phasegate.store.segments.FILTERS_SPAN", SPAN)
        store.commit([chain.put_filters(range(2000))])
    store.commit([PutFilters(packed(chain, range(2000, END + 1)))])
    with store._database.snapshot() as rows:
        found = rows.run("SELECT start, count FROM segments WHERE series = 4 ORDER BY start")
    assert found == [(0, SPAN), (2000, FILTERS_SPAN)]
    for start, count in ((0, END + 1), (700, 1), (1100, 1500), (1999, 2), (2999, 2)):
        wanted = [chain.filter(height) for height in range(start, start + count)]
        assert read_back(store, start, count) == store.filters(start, count) == wanted
    store.close()


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE segments SET data = zeroblob(length(data)) WHERE series = 4 AND start = 1000",
        "DELETE FROM segments WHERE series = 4 AND start = 1000",
    ],
)
def test_damage_is_found_and_named(tmp_path: Path, chain: FakeChain, harm: str) -> None:
    store = opened(tmp_path, chain)
    store.commit([PutFilters(packed(chain, range(END + 1)))])
    with store._database.transaction() as rows:
        rows.run(harm)
    assert len(read_back(store, 0, 1000)) == 1000
    for start, count in ((1000, 1000), (0, 3000)):
        with pytest.raises(StoreCorrupt, match=r"filters (1000\.\.1999|0\.\.2999) are"):
            read_back(store, start, count)
    with pytest.raises(LookupError, match="are not stored"):
        read_back(store, END, 2)
    store.close()


def test_no_piece_behind_a_gap_is_given(tmp_path: Path, chain: FakeChain) -> None:
    """It would be taken for the filters of other blocks."""
    store = opened(tmp_path, chain)
    store.commit([PutFilters(packed(chain, range(END + 1)))])
    with store._database.transaction() as rows:
        rows.run("DELETE FROM segments WHERE series = 4 AND start = 1000")
    with closing(store.packed_filters(500, 2500)) as pieces:
        assert len(next(pieces)[1]) == 500
        with pytest.raises(StoreCorrupt, match=r"filters 500\.\.2999 are not all there"):
            next(pieces)
    store.close()


def test_all_pieces_are_of_one_state(tmp_path: Path, chain: FakeChain) -> None:
    """Of the moment when the first was read, whatever is committed meanwhile."""
    store = opened(tmp_path, chain)
    store.commit([PutFilters(packed(chain, range(END + 1)))])
    with closing(store.packed_filters(0, END + 1)) as pieces:
        first = list(next(pieces)[1])
        store.commit([RollBackFilters(1500)])
        rest = [raw for _, filters in pieces for raw in filters]
    assert [*first, *rest] == [chain.filter(height) for height in range(END + 1)]
    with pytest.raises(LookupError, match="are not stored"):
        read_back(store, 0, END + 1)
    store.close()
