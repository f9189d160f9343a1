"""A change that does not fit is a bug of the caller: refused, and nothing of its batch is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.blocks import BlockFindings
from phasegate.consensus.quorums import BitSet
from phasegate.store import (
    AddWatch,
    AppendFilterHeaders,
    AppendHeaders,
    Change,
    Corroborate,
    JudgeQuorums,
    KeepHistory,
    MarkMatched,
    PutFilters,
    PutFilterVariants,
    QuorumVerdict,
    RecordBlock,
    RecordChainLock,
    RecordInstantLock,
    RollBack,
    RollBackFilters,
    SetContext,
    SetMasternodes,
    SetQuorumSet,
    Store,
)
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

A, B = b"script a", b"script b"


@pytest.fixture
def filled(store: Store, trunk: FakeChain) -> Store:
    """Headers to 100, filter headers to 90, filters to 80, a list at 50, item A matched to 40, item B not at all."""
    store.commit([trunk.append(1, 100), trunk.append_filter_headers(0, 91), trunk.put_filters(range(81))])
    store.commit([AddWatch(((A, "a"),)), MarkMatched((A,), 0, 40, (7, 9)), AddWatch(((B, "b"),))])
    store.commit([SetMasternodes(50, trunk.hash_at(50), b"state")])
    store.commit([SetQuorumSet(50, trunk.hash_at(50), (commitment(100, trunk.hash_at(24)),))])
    return store


def chainlock(chain: FakeChain, height: int) -> RecordChainLock:
    return RecordChainLock(height, chain.hash_at(height), b"\7" * 96, 100, chain.hash_at(24), 50)


QUORUM = commitment(100, b"\1" * 32)
NULL_QUORUM = attrs.evolve(
    QUORUM,
    signers=BitSet.of([]),
    valid_members=BitSet.of([]),
    public_key=bytes(48),
    vvec_hash=bytes(32),
    quorum_signature=bytes(96),
    members_signature=bytes(96),
)
Make = Callable[["FakeChain"], Change]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda c: c.append(100, 5), id="headers below the tip"),
        pytest.param(lambda c: c.append(102, 5), id="headers above a gap"),
        pytest.param(lambda c: attrs.evolve(c.append(101, 2), raw=c.headers(102, 2)), id="headers that do not link"),
        pytest.param(lambda c: attrs.evolve(c.append(101, 2), raw=c.headers(101, 1) * 2), id="the same header twice"),
        pytest.param(lambda c: attrs.evolve(c.append(101, 2), work_after=c.work(100)), id="work that does not grow"),
        pytest.param(lambda c: attrs.evolve(c.append(101, 2), hashes=c.hashes(101, 1)), id="a hash too few"),
        pytest.param(lambda c: attrs.evolve(c.append(101, 2), raw=c.headers(101, 2)[:-1]), id="half a header"),
        pytest.param(lambda _: AppendHeaders(101, b"", b"", 1 << 200), id="no header"),
        pytest.param(lambda _: RollBack(101, 1), id="a roll-back above the tip"),
        pytest.param(lambda _: RollBack(-1, 1), id="a roll-back below the base"),
        pytest.param(lambda c: SetMasternodes(101, c.hash_at(101), b""), id="a list above the tip"),
        pytest.param(lambda c: SetMasternodes(60, c.hash_at(61), b""), id="a list of another block"),
        pytest.param(lambda c: SetQuorumSet(60, c.hash_at(61), ()), id="a quorum set of another block"),
        pytest.param(lambda c: SetQuorumSet(101, c.hash_at(101), ()), id="a quorum set above the tip"),
        pytest.param(lambda c: SetQuorumSet(60, c.hash_at(60), (QUORUM, QUORUM)), id="the same quorum twice"),
        pytest.param(lambda c: SetQuorumSet(60, c.hash_at(60), (NULL_QUORUM,)), id="a null quorum"),
        pytest.param(lambda c: JudgeQuorums((QuorumVerdict(103, c.hash_at(24), True),)), id="an unknown quorum"),
        pytest.param(lambda c: JudgeQuorums((QuorumVerdict(100, c.hash_at(24), True, "why"),)), id="a needless reason"),
        pytest.param(lambda c: JudgeQuorums((QuorumVerdict(100, c.hash_at(24), False),)), id="no reason"),
        pytest.param(lambda c: chainlock(c, 101), id="a ChainLock above the tip"),
        pytest.param(lambda c: attrs.evolve(chainlock(c, 60), height=61), id="a ChainLock of another block"),
        pytest.param(lambda c: attrs.evolve(chainlock(c, 60), mined_by=101), id="a quorum mined above the tip"),
        pytest.param(lambda c: RecordInstantLock(A, (), b"", 100, c.hash_at(25)), id="a lock of an unknown quorum"),
        pytest.param(lambda _: SetContext(bytes(80)), id="headers below genesis"),
        pytest.param(lambda c: Corroborate(91, c.filter_headers(91, 1)), id="corroborated above the last"),
        pytest.param(lambda c: Corroborate(80, c.filter_headers(81, 1)), id="another filter header corroborated"),
        pytest.param(lambda _: PutFilterVariants(((91, b""),)), id="a variant without its header"),
        pytest.param(lambda _: PutFilterVariants(((-1, b""),)), id="a variant below the base"),
        pytest.param(lambda c: attrs.evolve(c.append_filter_headers(91, 1), previous=bytes(32)), id="a late previous"),
        pytest.param(lambda c: c.append_filter_headers(90, 2), id="filter headers stored already"),
        pytest.param(lambda c: c.append_filter_headers(92, 2), id="filter headers above a gap"),
        pytest.param(lambda c: c.append_filter_headers(91, 11), id="filter headers above the tip"),
        pytest.param(lambda _: AppendFilterHeaders(91, b""), id="no filter header"),
        pytest.param(lambda _: AppendFilterHeaders(91, bytes(33)), id="half a filter header"),
        pytest.param(lambda c: c.put_filters([81, 91]), id="a filter without its header"),
        pytest.param(lambda _: PutFilters(((-1, b""),)), id="a filter below the base"),
        pytest.param(lambda _: MarkMatched((A,), 40, 45, ()), id="matched twice"),
        pytest.param(lambda _: MarkMatched((A,), 42, 45, ()), id="matched above a gap"),
        pytest.param(lambda _: MarkMatched((A, B), 41, 45, ()), id="one item left behind"),
        pytest.param(lambda _: MarkMatched((b"other",), 0, 45, ()), id="an item that is not watched"),
        pytest.param(lambda _: MarkMatched((), 41, 45, ()), id="no item"),
        pytest.param(lambda _: MarkMatched((A,), 41, 81, ()), id="matched above the filters"),
        pytest.param(lambda _: MarkMatched((A,), 41, 40, ()), id="matched backwards"),
        pytest.param(lambda _: MarkMatched((A,), 41, 45, (46,)), id="a match outside its range"),
        pytest.param(lambda _: RecordBlock(7, BlockFindings(9)), id="findings of another block"),
        pytest.param(lambda _: RecordBlock(101, BlockFindings(101)), id="findings above the tip"),
        pytest.param(lambda _: RecordBlock(-1, BlockFindings(-1)), id="findings below the base"),
        pytest.param(lambda _: RollBackFilters(91), id="filter headers rolled back above the last"),
        pytest.param(lambda _: RollBackFilters(-2), id="filter headers rolled back below the base"),
        pytest.param(lambda _: KeepHistory(-1), id="a negative history"),
    ],
)
def test_a_change_that_does_not_fit_leaves_nothing_of_its_batch(filled: Store, trunk: FakeChain, make: Make) -> None:
    marks, digest = filled.marks, filled.digest()
    with pytest.raises(ValueError, match=r"\w"):
        filled.commit([AddWatch(((b"new", "n"),)), make(trunk)])
    assert filled.marks == marks == filled.read_marks()
    assert filled.digest() == digest
    assert filled.commit([trunk.append(101, 3)]).tip == 103


def test_headers_of_a_refused_batch_are_not_in_the_index(filled: Store, trunk: FakeChain) -> None:
    with pytest.raises(ValueError, match="cannot roll back"):
        filled.commit([trunk.append(101, 3), RollBack(200, 1)])
    assert filled.height_of(trunk.hash_at(102)) is None


def test_a_block_announced_twice_is_stored_once(filled: Store, trunk: FakeChain) -> None:
    filled.commit([trunk.append(101, 1)])
    with pytest.raises(ValueError, match="do not follow"):
        filled.commit([trunk.append(101, 1)])
    with pytest.raises(ValueError, match="not linked"):
        filled.commit([attrs.evolve(trunk.append(101, 1), start=102, work_after=trunk.work(102))])
    assert (filled.marks.tip, filled.height_of(trunk.hash_at(101))) == (101, 101)


def test_an_empty_batch_changes_nothing(filled: Store) -> None:
    digest = filled.digest()
    assert filled.commit([]) == filled.marks
    assert filled.digest() == digest
