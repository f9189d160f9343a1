"""Blocks that are searched for a transaction of our own, and coins that a lock holds for somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    MarkMatched,
    RecordBlock,
    RecordInstantLock,
    RemoveWatch,
    SearchBlocks,
    SetQuorumSet,
    Store,
)
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

A = b"script a"
PAY = b"p" * 32
PAID = BlockFindings(
    10, (FoundTransaction(PAY, 1, (A,), 500, 0, (OutPoint(b"q" * 32, 0),)),), (Coin(OutPoint(PAY, 0), 500, A, 10),)
)


@pytest.fixture
def filled(store: Store, trunk: FakeChain) -> Store:
    """30 blocks with filters, nothing watched."""
    store.commit([trunk.append(1, 30), trunk.append_filter_headers(0, 31), trunk.put_filters(range(31))])
    return store


def test_they_are_pending_until_recorded_and_leave_the_digest_as_it_was(filled: Store) -> None:
    """With nothing watched, too; what is compared of two stores is what they know, not where they looked."""
    digest = filled.digest()
    assert filled.commit([SearchBlocks((10, 20))]).pending_blocks == 2
    assert filled.pending(10) == [10, 20]
    assert filled.digest() != digest
    filled.commit([RecordBlock(10, BlockFindings(10)), RecordBlock(20, BlockFindings(20))])
    assert filled.pending(10) == []
    assert filled.digest() == digest


def test_a_block_that_was_searched_is_searched_again_and_loses_nothing(filled: Store) -> None:
    """It may have been read before the transaction was given; what it paid is known once."""
    filled.commit([AddWatch(((A, ""),)), MarkMatched((A,), 0, 30, (10,)), RecordBlock(10, PAID)])
    digest, found = filled.digest(), filled.transactions()
    filled.commit([SearchBlocks((10,))])
    assert filled.pending(10) == [10]
    filled.commit([RecordBlock(10, PAID)])
    assert (filled.pending(10), filled.digest(), filled.transactions()) == ([], digest, found)


def test_one_that_matched_too_is_one_pending_block(filled: Store) -> None:
    """In one transaction, in either order."""
    filled.commit([AddWatch(((A, ""),)), SearchBlocks((10, 11)), MarkMatched((A,), 0, 30, (10,)), SearchBlocks((10,))])
    assert filled.pending(10) == filled.matched_heights() == [10, 11]


def test_a_roll_back_takes_those_above(filled: Store, trunk: FakeChain) -> None:
    """And leaves the others pending."""
    filled.commit([SearchBlocks((10, 15, 16))])
    filled.commit([trunk.roll_back(15)])
    assert filled.pending(10) == [10, 15]
    filled.commit([trunk.append(16, 15)])
    assert filled.pending(10) == [10, 15]


def test_with_the_last_watch_item_they_go(filled: Store) -> None:
    """As matched ones do; who broadcasts has them searched again. While another item is watched they stay."""
    filled.commit([AddWatch(((A, ""), (b"b", ""))), SearchBlocks((10,))])
    filled.commit([RemoveWatch((A,))])
    assert filled.pending(10) == [10]
    filled.commit([RemoveWatch((b"b",))])
    assert filled.pending(10) == []


@pytest.mark.parametrize("height", [-1, 31])
def test_a_block_that_is_not_stored_cannot_be_searched(filled: Store, height: int) -> None:
    """Nothing of the batch is stored then."""
    with pytest.raises(ValueError, match=r"none of 0\.\.30"):
        filled.commit([SearchBlocks((10,)), SearchBlocks((height,))])
    assert filled.pending(10) == []


def test_they_are_there_after_a_restart(filled: Store) -> None:
    """Pending is stored, not remembered."""
    filled.commit([SearchBlocks((10,))])
    assert filled.read_marks().pending_blocks == 1


def test_for_whom_a_coin_is_locked(store: Store, trunk: FakeChain) -> None:
    """Of several coins any locked one tells; nobody's coin is locked for nobody, nor for any after a roll-back."""
    quorum = SetQuorumSet(40, trunk.hash_at(40), (commitment(100, trunk.hash_at(24)),))
    coins = [OutPoint(b"c" * 32, n) for n in range(3)]
    store.commit([trunk.append(1, 50), quorum])
    store.commit([RecordInstantLock(PAY, (coins[0], coins[1]), b"lock", 100, trunk.hash_at(24))])
    assert store.locked_for(coins[:1]) == store.locked_for([coins[2], coins[1]]) == PAY
    assert store.locked_for([coins[2]]) is store.locked_for([]) is None
    assert store.locked_for([OutPoint(b"d" * 32, 0)]) is None
    store.commit([trunk.roll_back(30)])
    assert store.locked_for(coins) is None
