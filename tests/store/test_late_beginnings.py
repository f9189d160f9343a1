"""A store may begin above genesis, and its filters later still: heights stay absolute, and nothing below is missed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import BlockHeader
from phasegate.consensus.x11 import x11
from phasegate.store import (
    AddWatch,
    Anchor,
    AppendFilterHeaders,
    MarkMatched,
    PutFilters,
    RollBackFilters,
    SetContext,
    Store,
    StoreMismatch,
)
from tests.store.conftest import BITS, WORK

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

MakeChain = Callable[..., "FakeChain"]
BEFORE = b"\7" * 32


def linked(count: int) -> list[bytes]:
    """`count` headers that are linked by their true hashes."""
    headers = [BlockHeader(1, bytes(32), bytes(32), 0, BITS, 0).to_bytes()]
    while len(headers) < count:
        headers.append(BlockHeader(1, x11(headers[-1]), bytes(32), len(headers), BITS, 0).to_bytes())
    return headers


def based(base: int, held: int = 35) -> tuple[Anchor, bytes]:
    """An anchor at `base` and the headers below it."""
    *below, first = linked(held + 1)
    return Anchor(base, first, WORK * (base + 1)), b"".join(below)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=st.integers(1, 4500), n=st.integers(0, 4100), birthday=st.integers(0, 9000), data=st.data())
def test_every_item_stands_at_its_own_height_over_base_and_length(
    tmp_path_factory: pytest.TempPathFactory,
    make_chain: MakeChain,
    trunk: FakeChain,
    base: int,
    n: int,
    birthday: int,
    data: st.DataObject,
) -> None:
    """The base is no height 0 and is counted once; the filter header before it is there; nothing has a gap."""
    place = tmp_path_factory.mktemp("late")
    anchor = Anchor(base, trunk.header(base), trunk.work(base))
    chain, tip, first = make_chain(n + 1, anchor=anchor), base + n, max(base, birthday)
    store = Store.open(place, SIMNET, anchor=anchor, birthday=birthday)
    assert (store.marks.base, store.marks.tip, store.marks.filters_base) == (base, base, first)
    if n:
        store.commit([chain.append(base + 1, n)])
    store.commit([AppendFilterHeaders(base, chain.filter_headers(base, n + 1), BEFORE), AddWatch(((b"a", ""),))])
    store.commit([chain.put_filters(data.draw(st.permutations(range(first, min(tip, first + 60) + 1))))])
    top = max(first - 1, min(tip, first + 60))
    for _ in range(2):
        marks = store.marks
        assert (marks.tip, marks.filter_headers, marks.filters, marks.matched) == (tip, tip, top, first - 1)
        assert store.filter_header_at(base - 1) == BEFORE
        assert store.headers(base, n + 1) == chain.headers(base, n + 1)
        assert store.filters(first, top + 1 - first) == [chain.filter(height) for height in range(first, top + 1)]
        heights = {base, tip, data.draw(st.integers(base, tip))}
        assert all(store.height_of(chain.hash_at(height)) == height for height in heights)
        assert all(store.filter_header_at(height) == chain.filter_headers(height, 1) for height in heights)
        with pytest.raises(LookupError):
            store.header(base - 1)
        with pytest.raises(LookupError):
            store.filters(first - 1, 1)
        assert store.check() == ()
        store.close()
        store = Store.open(place, SIMNET)
    to = data.draw(st.integers(base, tip))
    marks = store.commit([chain.roll_back(to)])
    assert (marks.tip, marks.filters, marks.matched) == (to, max(first - 1, min(top, to)), first - 1)
    store.close()


def test_what_is_watched_is_matched_from_the_birthday(store: Store, tmp_path: Path, trunk: FakeChain) -> None:
    born = Store.open(tmp_path / "born", SIMNET, birthday=30)
    born.commit([trunk.append(1, 50), trunk.append_filter_headers(0, 51), trunk.put_filters(range(30, 51))])
    born.commit([AddWatch(((b"a", ""),))])
    with pytest.raises(ValueError, match="cannot be matched"):
        born.commit([MarkMatched((b"a",), 29, 40, ())])
    with pytest.raises(ValueError, match=r"filter 29 is not wanted or has no stored filter header \(30\.\.50\)"):
        born.commit([trunk.put_filters([29])])
    assert born.commit([MarkMatched((b"a",), 30, 50, (33,))]).matched == 50
    assert born.commit([RollBackFilters(12)]).matched == 29
    assert born.marks.filters == 29
    born.close()


def test_a_birthday_above_the_tip_waits_for_the_chain(tmp_path: Path, trunk: FakeChain) -> None:
    store = Store.open(tmp_path, SIMNET, birthday=80)
    marks = store.commit([trunk.append(1, 50), trunk.append_filter_headers(0, 51), AddWatch(((b"a", ""),))])
    assert (marks.filters_base, marks.filters, marks.matched) == (80, 79, 79)
    marks = store.commit([trunk.append(51, 50), trunk.append_filter_headers(51, 50), trunk.put_filters(range(80, 101))])
    assert (marks.filters, marks.matched) == (100, 79)
    store.close()


def test_a_later_birthday_keeps_what_is_stored_and_an_earlier_one_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path, SIMNET, birthday=500).close()
    for birthday in (500, 900, None):
        store = Store.open(tmp_path, SIMNET, birthday=birthday)
        assert store.marks.filters_base == 500
        store.close()
    with pytest.raises(StoreMismatch, match=r"has filters from height 500 on, which is above the wanted 400$"):
        Store.open(tmp_path, SIMNET, birthday=400)


def test_a_base_above_the_wanted_birthday_is_refused(tmp_path: Path) -> None:
    anchor, _ = based(500)
    Store.open(tmp_path, SIMNET, anchor=anchor).close()
    Store.open(tmp_path, SIMNET, anchor=anchor, birthday=0).close()
    with pytest.raises(StoreMismatch, match=r"has filters from height 500 on, which is above the wanted 0$"):
        Store.open(tmp_path, SIMNET, birthday=0)


def test_another_block_where_the_wanted_one_should_be_is_refused(tmp_path: Path, trunk: FakeChain) -> None:
    anchor, _ = based(500)
    store = Store.open(tmp_path, SIMNET, anchor=anchor)
    store.close()
    other = Anchor(500, trunk.header(500), trunk.work(500))
    with pytest.raises(StoreMismatch, match="holds another block at height 500 than the wanted one"):
        Store.open(tmp_path, SIMNET, anchor=other)
    Store.open(tmp_path, SIMNET, anchor=Anchor(501, trunk.header(501), trunk.work(501))).close()


def test_the_headers_below_the_base_are_kept_through_everything(tmp_path: Path) -> None:
    anchor, below = based(500)
    store = Store.open(tmp_path, SIMNET, anchor=anchor)
    assert (store.marks.context, store.context()) == (0, b"")
    digest = store.digest()
    assert store.commit([SetContext(below[-80:])]).context == 1
    assert store.commit([SetContext(below)]).context == 35
    assert store.digest() == digest
    store.close()
    store = Store.open(tmp_path, SIMNET)
    assert (store.marks.context, store.context()) == (35, below)
    store.close()


def test_headers_that_do_not_lead_to_the_base_are_refused(tmp_path: Path, store: Store) -> None:
    anchor, below = based(500)
    late = Store.open(tmp_path / "late", SIMNET, anchor=anchor)
    early = Store.open(tmp_path / "early", SIMNET, anchor=Anchor(3, anchor.header, anchor.work))
    for raw in (b"", below[:-1], below[:-80], below[80:160] + below[-80:]):
        with pytest.raises(ValueError, match="below 500"):
            late.commit([SetContext(raw)])
    for other in (early, store):
        with pytest.raises(ValueError, match="cannot be the headers below"):
            other.commit([SetContext(below)])
    assert early.commit([SetContext(below[-240:])]).context == 3
    late.close()
    early.close()


def test_the_filter_header_before_the_base_comes_with_the_first(
    tmp_path: Path, store: Store, trunk: FakeChain, make_chain: MakeChain
) -> None:
    anchor = Anchor(500, trunk.header(500), trunk.work(500))
    chain = make_chain(50, anchor=anchor)
    late = Store.open(tmp_path / "late", SIMNET, anchor=anchor)
    headers = chain.filter_headers(500, 10)
    late.commit([chain.append(501, 49)])
    with pytest.raises(ValueError, match="comes only with the first"):
        late.commit([AppendFilterHeaders(500, headers, b"short")])
    late.commit([AppendFilterHeaders(500, headers, BEFORE)])
    assert late.filter_header_at(499) == BEFORE
    with pytest.raises(ValueError, match="comes only with the first"):
        late.commit([AppendFilterHeaders(510, headers, BEFORE)])
    with pytest.raises(ValueError, match="comes only with the first"):
        store.commit([AppendFilterHeaders(0, bytes(32), BEFORE)])
    late.commit([RollBackFilters(499), AppendFilterHeaders(500, headers, b"\x08" * 32)])
    assert late.filter_header_at(499) == b"\x08" * 32
    late.close()


def test_a_filter_below_the_base_is_refused(tmp_path: Path, trunk: FakeChain) -> None:
    store = Store.open(tmp_path, SIMNET, anchor=Anchor(500, trunk.header(500), trunk.work(500)), birthday=7)
    assert store.marks.filters_base == 500
    with pytest.raises(ValueError, match="is not wanted"):
        store.commit([PutFilters(((400, b""),))])
    store.close()
