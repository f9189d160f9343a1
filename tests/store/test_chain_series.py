"""What goes into the chain series comes out again, however it was cut into batches, sealed or rolled back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phasegate.consensus.params import SIMNET
from phasegate.store import AddWatch, Anchor, MarkMatched, RollBackFilters, Store
from phasegate.store.segments import SPAN, TAIL

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

EDGES = [1, 2, 499, 500, 1998, 1999, 2000, 2001, 3999, 4000, 4001, 4500, 6001]


def fill(store: Store, chain: FakeChain, end: int, step: int) -> None:
    """All four series up to `end`, in batches of `step`."""
    for start in range(store.marks.tip + 1, end + 1, step):
        store.commit([chain.append(start, min(step, end + 1 - start))])
    for start in range(store.marks.filter_headers + 1, end + 1, step):
        store.commit([chain.append_filter_headers(start, min(step, end + 1 - start))])
    for start in range(store.marks.filters + 1, end + 1, step):
        store.commit([chain.put_filters(range(start, min(start + step, end + 1)))])


def assert_holds(store: Store, chain: FakeChain, end: int) -> None:
    """All four series are those of `chain` up to `end`, whole and in pieces."""
    base, count = chain.base, end + 1 - chain.base
    assert store.headers(base, count) == chain.headers(base, count)
    assert store.hashes(base, count) == chain.hashes(base, count)
    assert store.filter_headers(base, count) == chain.filter_headers(base, count)
    assert store.filters(base, count) == [chain.filter(h) for h in range(base, end + 1)]
    for height in {base, end, *(h for h in (*EDGES, *(base + e for e in EDGES)) if base <= h <= end)}:
        assert store.header(height) == chain.header(height)
        assert store.height_of(chain.hash_at(height)) == height
        assert store.filters(height, 1) == [chain.filter(height)]
        assert store.filter_header_at(height) == chain.filter_headers(height, 1)


def test_a_new_store_holds_the_genesis_block_and_nothing_else(store: Store, trunk: FakeChain) -> None:
    marks = store.marks
    assert (marks.base, marks.tip, marks.tip_hash, marks.work) == (0, 0, trunk.hash_at(0), trunk.work(0))
    assert (marks.filter_headers, marks.filter_header, marks.filters, marks.matched) == (-1, bytes(32), -1, -1)
    assert (marks.masternodes, marks.masternodes_hash, marks.watch_items, marks.pending_blocks) == (None, b"", 0, 0)
    assert store.header(0) == SIMNET.genesis
    assert store.filter_header_at(-1) == bytes(32)
    assert store.masternode_state() is None
    assert store.read_marks() == marks


@pytest.mark.parametrize("step", [333, 500, 2000, 9000])
def test_every_height_reads_back_after_any_batching_and_a_reopen(tmp_path: Path, trunk: FakeChain, step: int) -> None:
    store = Store.open(tmp_path, SIMNET)
    fill(store, trunk, 6500, step)
    assert_holds(store, trunk, 6500)
    marks, digest = store.marks, store.digest()
    store.close()
    store = Store.open(tmp_path, SIMNET)
    assert store.marks == marks == store.read_marks()
    assert store.digest() == digest
    assert_holds(store, trunk, 6500)
    store.close()


def test_the_digest_does_not_know_how_the_batches_were_cut(tmp_path: Path, trunk: FakeChain) -> None:
    digests = set()
    for step in (97, 640, 2000, 6200):
        store = Store.open(tmp_path / str(step), SIMNET)
        fill(store, trunk, 6200, step)
        digests.add(store.digest())
        store.close()
    assert len(digests) == 1


def test_the_digest_knows_every_item(tmp_path: Path, make_chain: Callable[..., FakeChain], trunk: FakeChain) -> None:
    digests: set[str] = set()
    for chain, end in ((trunk, 50), (trunk, 51), (make_chain(60, fork=(trunk, 49)), 50)):
        store = Store.open(tmp_path / str(len(digests)), SIMNET)
        fill(store, chain, end, 20)
        digests.add(store.digest())
        store.close()
    assert len(digests) == 3


@pytest.mark.parametrize("bulk", [False, True])
def test_the_tail_is_never_longer_than_allowed_and_segments_end_at_borders(
    tmp_path: Path, trunk: FakeChain, bulk: bool
) -> None:
    store = Store.open(tmp_path, SIMNET)
    step = 2000 if bulk else 450
    for start in range(1, 9000, step):
        store.commit([trunk.append(start, min(step, 9001 - start))])
        with store._database.snapshot() as rows:
            lengths = rows.run("SELECT count(*), min(height) FROM tail WHERE series = 1")
            segments = rows.run("SELECT start, count FROM segments WHERE series = 1 ORDER BY start")
        assert lengths[0][0] <= (SPAN if bulk else TAIL)
        assert segments == [(SPAN * i, SPAN) for i in range(len(segments))]
        assert lengths[0][1] is None or lengths[0][1] == SPAN * len(segments)
    store.close()


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=st.integers(1, 5000) | st.sampled_from([1, 1999, 2000, 2001]), count=st.sampled_from(EDGES), data=st.data())
def test_a_store_may_begin_at_any_height(
    tmp_path_factory: pytest.TempPathFactory,
    make_chain: Callable[..., FakeChain],
    trunk: FakeChain,
    base: int,
    count: int,
    data: st.DataObject,
) -> None:
    """Over (base, n): base and tip are counted once, the tip is base + n, and a roll-back to anywhere reads right."""
    place = tmp_path_factory.mktemp("based")
    anchor = Anchor(base, trunk.header(base), trunk.work(base), b"\7" * 32)
    chain = make_chain(count + 1, anchor=anchor)
    store = Store.open(place, SIMNET, anchor=anchor)
    assert (store.marks.base, store.marks.tip, store.marks.filter_headers) == (base, base, base - 1)
    assert store.filter_header_at(base - 1) == store.marks.filter_header == b"\7" * 32
    fill(store, chain, base + count, data.draw(st.sampled_from([499, 777, 2000, 7000])))
    assert (store.marks.tip, store.marks.filters) == (base + count, base + count)
    assert_holds(store, chain, base + count)
    to = data.draw(st.integers(base, base + count))
    store.commit([chain.roll_back(to)])
    assert (store.marks.tip, store.marks.filters, store.marks.work) == (to, to, chain.work(to))
    assert_holds(store, chain, to)
    store.close()
    store = Store.open(place, SIMNET)
    assert_holds(store, chain, to)
    store.close()


@pytest.mark.parametrize("to", [0, 1, 1998, 1999, 2000, 2001, 3500, 3999, 4000, 6498, 6499, 6500])
def test_a_roll_back_lands_at_any_side_of_a_segment_border(store: Store, trunk: FakeChain, to: int) -> None:
    fill(store, trunk, 6500, 2000)
    marks = store.commit([trunk.roll_back(to)])
    assert (marks.tip, marks.tip_hash, marks.work) == (to, trunk.hash_at(to), trunk.work(to))
    assert (marks.filter_headers, marks.filters) == (to, to)
    assert marks.filter_header == trunk.filter_headers(to, 1)
    assert_holds(store, trunk, to)
    with pytest.raises(LookupError, match="are not stored"):
        store.header(to + 1)
    assert to == 6500 or store.height_of(trunk.hash_at(to + 1)) is None
    fill(store, trunk, 7000, 700)
    assert_holds(store, trunk, 7000)


def test_a_fork_is_one_commit_that_rolls_back_and_appends(store: Store, trunk: FakeChain, branch: FakeChain) -> None:
    fill(store, trunk, 4600, 2000)
    marks = store.commit([trunk.roll_back(3500), branch.append(3501, 2000), branch.append(5501, 1)])
    assert (marks.tip, marks.tip_hash) == (5501, branch.hash_at(5501))
    assert (marks.filter_headers, marks.filters) == (3500, 3500)
    fill(store, branch, 5501, 1000)
    assert_holds(store, branch, 5501)
    assert store.height_of(trunk.hash_at(3501)) is None
    assert store.height_of(trunk.hash_at(3500)) == 3500


def test_a_store_that_went_astray_equals_one_that_did_not(
    tmp_path: Path, store: Store, trunk: FakeChain, branch: FakeChain
) -> None:
    fill(store, trunk, 6100, 2000)
    store.commit([trunk.roll_back(3500)])
    fill(store, branch, 6100, 450)
    straight = Store.open(tmp_path / "straight", SIMNET)
    fill(straight, branch, 6100, 2000)
    assert store.digest() == straight.digest()
    straight.close()


def test_any_order_of_filters_gives_the_same_store(tmp_path: Path, trunk: FakeChain) -> None:
    digests = set()
    for seed in range(4):
        store = Store.open(tmp_path / str(seed), SIMNET)
        store.commit([trunk.append(1, 4500), trunk.append_filter_headers(0, 4501)])
        batches = [range(start, min(start + 300, 4501)) for start in range(0, 4501, 300)]
        random.Random(seed).shuffle(batches)
        arrived: set[int] = set()
        for heights in batches:
            arrived.update(heights)
            marks = store.commit([trunk.put_filters(heights)])
            assert marks.filters == min(set(range(4502)) - arrived) - 1
        assert_holds(store, trunk, 4500)
        digests.add(store.digest())
        store.close()
    assert len(digests) == 1


def test_a_filter_that_comes_twice_is_kept_once(store: Store, trunk: FakeChain) -> None:
    store.commit([trunk.append(1, 20), trunk.append_filter_headers(0, 21), trunk.put_filters([0, 1, 5, 6])])
    digest = store.digest()
    assert store.commit([trunk.put_filters([6, 1, 0, 5, 5])]).filters == 1
    assert store.digest() == digest
    assert store.commit([trunk.put_filters([4, 3, 2])]).filters == 6


def test_filter_headers_alone_go_back_with_what_was_found_through_them(store: Store, trunk: FakeChain) -> None:
    fill(store, trunk, 4500, 2000)
    store.commit([AddWatch(((b"a", ""),)), MarkMatched((b"a",), 0, 4500, (1000, 3000))])
    marks = store.commit([RollBackFilters(2500)])
    assert (marks.tip, marks.filter_headers, marks.filters, marks.matched) == (4500, 2500, 2500, 2500)
    assert marks.filter_header == trunk.filter_headers(2500, 1)
    assert store.matched_heights() == [1000]
    marks = store.commit([RollBackFilters(-1)])
    assert (marks.tip, marks.filter_headers, marks.filter_header, marks.filters) == (4500, -1, bytes(32), -1)
    fill(store, trunk, 4500, 900)
    assert_holds(store, trunk, 4500)


def test_filters_above_a_gap_survive_a_reopen_and_go_with_a_roll_back(tmp_path: Path, trunk: FakeChain) -> None:
    store = Store.open(tmp_path, SIMNET)
    store.commit([trunk.append(1, 20), trunk.append_filter_headers(0, 21), trunk.put_filters([0, 5, 6, 9])])
    store.close()
    store = Store.open(tmp_path, SIMNET)
    with pytest.raises(LookupError):
        store.filters(5, 1)
    store.commit([trunk.roll_back(5), trunk.append(6, 15), trunk.append_filter_headers(6, 15)])
    assert store.commit([trunk.put_filters([1, 2, 3, 4])]).filters == 5
    store.close()


def test_unknown_hashes_have_no_height(store: Store, trunk: FakeChain) -> None:
    """Also one that begins like a stored hash: candidates are compared in full."""
    store.commit([trunk.append(1, 30)])
    assert store.height_of(trunk.hash_at(31)) is None
    assert store.height_of(trunk.hash_at(7)[:8] + bytes(24)) is None


@pytest.mark.parametrize(("start", "count"), [(-1, 1), (-1, 0), (12, 0), (0, 12), (11, 1), (5, -1)])
def test_reads_outside_what_is_stored_are_refused(store: Store, trunk: FakeChain, start: int, count: int) -> None:
    store.commit([trunk.append(1, 10), trunk.append_filter_headers(0, 11), trunk.put_filters(range(11))])
    for read in (store.headers, store.hashes, store.filter_headers, store.filters):
        with pytest.raises(LookupError, match="are not stored"):
            read(start, count)


def test_no_heights_are_an_empty_answer(store: Store) -> None:
    assert store.headers(1, 0) == store.filter_headers(0, 0) == b""
    assert store.filters(0, 0) == []
