"""Quorums stay after they end, locks stay with their quorums, and all of it follows the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    JudgeQuorums,
    KeepAnchors,
    MarkMatched,
    QuorumVerdict,
    RecordBlock,
    RecordChainLock,
    RecordInstantLock,
    RecordRefusedBranch,
    RemoveWatch,
    RollBackFilters,
    SetMasternodes,
    SetQuorumSet,
    Store,
    quorums,
)
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

A, B = b"\1" * 32, b"\2" * 32
OURS = b"ours"


def active(chain: FakeChain, height: int, *bases: int, kind: int = 100) -> SetQuorumSet:
    return SetQuorumSet(height, chain.hash_at(height), tuple(commitment(kind, chain.hash_at(base)) for base in bases))


def chainlock(chain: FakeChain, height: int, base: int, mined_by: int) -> RecordChainLock:
    return RecordChainLock(height, chain.hash_at(height), b"\x77" * 96, 100, chain.hash_at(base), mined_by)


def instantlock(chain: FakeChain, txid: bytes, *spent: OutPoint, base: int = 24) -> RecordInstantLock:
    return RecordInstantLock(txid, spent, b"the lock as it came", 100, chain.hash_at(base))


@pytest.fixture
def filled(store: Store, trunk: FakeChain) -> Store:
    """Headers to 100; the quorum of block 24 active at 40 and 80, that of block 48 at 80 only."""
    store.commit([trunk.append(1, 100), active(trunk, 40, 24), active(trunk, 80, 24, 48)])
    return store


def test_a_quorum_is_known_by_the_lowest_height_that_told_of_it(filled: Store, trunk: FakeChain) -> None:
    older, newer = (filled.quorum(100, trunk.hash_at(base)) for base in (24, 48))
    assert older
    assert newer
    assert [(q.mined_by, q.height, q.verified) for q in (older, newer)] == [(40, 24, None), (80, 48, None)]
    filled.commit([active(trunk, 60, 48)])
    assert attrs.evolve(newer, mined_by=60) == filled.quorum(100, trunk.hash_at(48))
    assert filled.quorum(103, trunk.hash_at(48)) is None


def test_a_set_gives_its_commitments_back(filled: Store, trunk: FakeChain) -> None:
    assert filled.quorum_set(40) == (commitment(100, trunk.hash_at(24)),)
    assert {quorum.quorum_hash for quorum in filled.quorum_set(80) or ()} == {trunk.hash_at(24), trunk.hash_at(48)}
    assert filled.quorum_set(60) is None
    assert [filled.quorum_set_heights(*span) for span in ((0, 100), (40, 79), (41, 79))] == [[40, 80], [40], []]


def test_a_quorum_that_has_ended_stays(filled: Store, trunk: FakeChain) -> None:
    filled.commit([active(trunk, 90, 48)])
    assert filled.quorum(100, trunk.hash_at(24))


def test_a_roll_back_takes_what_was_not_yet_mined(filled: Store, trunk: FakeChain) -> None:
    filled.commit([chainlock(trunk, 50, 24, 40), chainlock(trunk, 60, 48, 80), chainlock(trunk, 95, 24, 40)])
    filled.commit([instantlock(trunk, A), instantlock(trunk, B, base=48)])
    marks = filled.commit([trunk.roll_back(79)])
    assert [lock.height for lock in filled.chainlocks(-1)] == [50]
    assert (marks.chainlock, marks.chainlock_hash) == (50, trunk.hash_at(50))
    assert [filled.quorum(100, trunk.hash_at(base)) is None for base in (24, 48)] == [False, True]
    assert filled.quorum_set_heights(0, 100) == [40]
    assert [filled.instantlock(txid) is None for txid in (A, B)] == [False, True]
    marks = filled.commit([trunk.roll_back(39)])
    assert (marks.chainlock, marks.chainlock_hash, filled.chainlocks(-1)) == (None, b"", [])
    assert filled.instantlock(A) is None


def test_a_roll_back_of_filters_takes_no_quorum_and_no_lock(filled: Store, trunk: FakeChain) -> None:
    filled.commit([trunk.append_filter_headers(0, 90), chainlock(trunk, 95, 24, 40), instantlock(trunk, A)])
    marks = filled.commit([RollBackFilters(10)])
    assert (marks.chainlock, filled.quorum_set_heights(0, 100)) == (95, [40, 80])
    assert filled.instantlock(A)


def test_unjudged_are_those_of_the_newest_walk(filled: Store, trunk: FakeChain) -> None:
    assert filled.marks.quorums_unjudged == 0
    marks = filled.commit([SetMasternodes(80, trunk.hash_at(80), b"list")])
    assert (marks.quorums, marks.quorums_unjudged) == (2, 2)
    older, newer = (trunk.hash_at(base) for base in (24, 48))
    verdicts = QuorumVerdict(100, older, True), QuorumVerdict(100, newer, False, "signed before V19")
    assert filled.commit([JudgeQuorums(verdicts[:1])]).quorums_unjudged == 1
    assert [quorum.commitment.quorum_hash for quorum in filled.unjudged_quorums()] == [newer]
    assert filled.commit([JudgeQuorums(verdicts[1:])]).quorums_unjudged == 0
    found = filled.quorum(100, newer)
    assert found
    assert (found.verified, found.reason) == (False, "signed before V19")
    anchored = filled.commit([active(trunk, 90, 60), SetMasternodes(90, trunk.hash_at(90), b"list", anchor=True)])
    assert (anchored.masternodes, anchored.quorums_unjudged) == (80, 0)


def test_another_commitment_of_the_same_quorum_is_not_judged_yet(filled: Store, trunk: FakeChain) -> None:
    filled.commit([JudgeQuorums((QuorumVerdict(100, trunk.hash_at(24), True),))])
    other = commitment(100, trunk.hash_at(24), b"\x09" * 32)
    filled.commit([SetQuorumSet(90, trunk.hash_at(90), (other,))])
    found = filled.quorum(100, trunk.hash_at(24))
    assert found
    assert (found.commitment, found.verified, found.mined_by) == (other, None, 90)


def test_four_hundred_quorums_of_a_type_stay_and_no_set_misses_one(
    store: Store, trunk: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quorums, "KEPT", 10)
    store.commit([trunk.append(1, 100), *(active(trunk, height, height, kind=103) for height in range(30))])
    store.commit([active(trunk, height, height) for height in range(30, 33)])
    assert [height for height in range(33) if store.quorum(103, trunk.hash_at(height))] == [*range(20, 30)]
    assert store.quorum_set_heights(0, 100) == [*range(20, 33)]
    assert store.check() == ()


def test_lists_of_walks_and_anchors_do_not_displace_each_other(store: Store, trunk: FakeChain) -> None:
    store.commit([trunk.append(1, 100)])
    for height in range(20, 80):
        store.commit([SetMasternodes(height, trunk.hash_at(height), b"anchor %d" % height, anchor=True)])
    marks = store.commit([SetMasternodes(h, trunk.hash_at(h), b"walk %d" % h) for h in (*range(10, 30), 5)])
    assert (marks.masternodes, store.masternode_state()) == (29, b"walk 29")
    assert store.masternode_heights() == [*range(22, 30), *range(48, 80)]
    assert (store.masternode_state(55), store.masternode_state(25)) == (b"anchor 55", b"walk 25")
    assert store.masternode_state(40) is None
    assert store.commit([trunk.roll_back(53), KeepAnchors((25, 50, 53))]).masternodes == 29
    assert store.masternode_heights() == [*range(22, 30), 50, 53]


def test_only_the_newest_hundred_chainlocks_stay(store: Store, trunk: FakeChain) -> None:
    store.commit([trunk.append(1, 200), *(chainlock(trunk, height, 1, 1) for height in range(30, 180))])
    assert store.commit([chainlock(trunk, 20, 1, 1)]).chainlock == 179
    assert [lock.height for lock in store.chainlocks(-1)] == [*range(179, 79, -1)]
    assert [lock.height for lock in store.chainlocks(177)] == [179, 178]


def found_payment(store: Store, chain: FakeChain, txid: bytes, *spent: OutPoint) -> None:
    """A payment to us in block 7, whose filter matched."""
    store.commit([chain.append_filter_headers(0, 20), chain.put_filters(range(20)), AddWatch(((OURS, ""),))])
    coin, payment = Coin(OutPoint(txid, 0), 5, OURS, 7), FoundTransaction(txid, 1, (OURS,), 5, 0, spent)
    store.commit([MarkMatched((OURS,), 0, 19, (7,)), RecordBlock(7, BlockFindings(7, (payment,), (coin,)))])


def test_a_lock_marks_its_transaction_whichever_comes_first(filled: Store, trunk: FakeChain) -> None:
    spent = OutPoint(B, 3)
    lock = instantlock(trunk, A, spent)
    filled.commit([lock])
    found_payment(filled, trunk, A, spent)
    assert [tx.instantlock for tx in filled.transactions()] == [True]
    filled.commit([RollBackFilters(5)])
    assert filled.transactions() == []
    stored = filled.instantlock(A)
    assert stored
    assert (stored.inputs, stored.payload, stored.quorum_hash) == ((spent,), lock.payload, lock.quorum_hash)


def test_a_lock_of_another_transaction_contradicts_one_that_spends_the_same(filled: Store, trunk: FakeChain) -> None:
    spent = OutPoint(B, 3)
    found_payment(filled, trunk, A, OutPoint(B, 2), spent)
    assert [tx.instantlock for tx in filled.transactions()] == [None]
    filled.commit([instantlock(trunk, b"\3" * 32, OutPoint(B, 4))])
    assert [tx.instantlock for tx in filled.transactions()] == [None]
    filled.commit([instantlock(trunk, b"\4" * 32, spent)])
    assert [tx.instantlock for tx in filled.transactions()] == [False]
    filled.commit([instantlock(trunk, A, spent)])
    assert [tx.instantlock for tx in filled.transactions()] == [True]
    filled.commit([RemoveWatch((OURS,)), AddWatch(((OURS, ""),))])
    assert filled.transactions() == []


def test_a_second_lock_of_a_transaction_changes_nothing(filled: Store, trunk: FakeChain) -> None:
    filled.commit([instantlock(trunk, A, OutPoint(B, 0)), instantlock(trunk, A, OutPoint(B, 1), base=48)])
    stored = filled.instantlock(A)
    assert stored
    assert (stored.inputs, stored.quorum_hash) == ((OutPoint(B, 0),), trunk.hash_at(24))


def test_locks_are_no_part_of_the_digest(filled: Store, trunk: FakeChain) -> None:
    found_payment(filled, trunk, A, OutPoint(B, 1))
    digest = filled.digest()
    filled.commit([instantlock(trunk, A, OutPoint(B, 1)), chainlock(trunk, 95, 24, 40), active(trunk, 70, 60)])
    filled.commit([JudgeQuorums((QuorumVerdict(100, trunk.hash_at(24), True),))])
    assert filled.digest() == digest


def test_refused_branches_survive_a_roll_back(filled: Store, trunk: FakeChain) -> None:
    filled.commit([RecordRefusedBranch(float(n), 90, 120, A, 1 << 90, 95, f"10.0.0.1:{n}") for n in range(120)])
    filled.commit([trunk.roll_back(10)])
    branches = filled.refused_branches()
    assert [branch.peer for branch in branches] == [f"10.0.0.1:{n}" for n in range(20, 120)]
    last = branches[-1]
    assert (last.time, last.fork_height, last.tip_height, last.tip_hash) == (119.0, 90, 120, A)
    assert (last.work, last.lock_height) == (1 << 90, 95)
