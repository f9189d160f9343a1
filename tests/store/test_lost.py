"""Transactions that a reorganisation took out of the chain: remembered, followed up, and no part of the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    Damage,
    MarkMatched,
    RecordBlock,
    RecordInstantLock,
    RecordLost,
    RemoveWatch,
    RollBackFilters,
    SetQuorumSet,
    Store,
    lost,
)
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.store.conftest import FakeChain

A, B = b"script a", b"script b"
EARLY, LATE, RIVAL = b"e" * 32, b"l" * 32, b"r" * 32
SPENT = OutPoint(b"f" * 32, 4)


def payment(txid: bytes, height: int, script: bytes, *spent: OutPoint, position: int = 1) -> RecordBlock:
    tx, coin = FoundTransaction(txid, position, (script,), 70, 0, spent), Coin(OutPoint(txid, 0), 70, script, height)
    return RecordBlock(height, BlockFindings(height, (tx,), (coin,)))


@pytest.fixture
def filled(store: Store, trunk: FakeChain) -> Store:
    """A is paid at 20 and B at 40, of 50 blocks; there is a quorum that can sign."""
    store.commit([trunk.append(1, 50), trunk.append_filter_headers(0, 51), trunk.put_filters(range(51))])
    store.commit([SetQuorumSet(10, trunk.hash_at(10), (commitment(103, trunk.hash_at(5)),))])
    store.commit([AddWatch(((A, ""), (B, ""))), MarkMatched((A, B), 0, 50, (20, 40))])
    store.commit([payment(EARLY, 20, A), payment(LATE, 40, B, SPENT)])
    return store


def reorganise(store: Store, chain: FakeChain, to: int = 30) -> None:
    store.commit([RecordLost(to, 1234.5), chain.roll_back(to)])


def searched_again(store: Store, chain: FakeChain, *found: RecordBlock) -> None:
    store.commit([chain.append(31, 20), chain.append_filter_headers(31, 20), chain.put_filters(range(31, 51))])
    store.commit([MarkMatched((A, B), 31, 50, tuple(record.height for record in found)), *found])


def test_what_was_above_the_fork_is_remembered_as_it_was(filled: Store, trunk: FakeChain) -> None:
    """Txid, block, scripts, amounts and inputs, with the time of the loss; what stands below the fork is not lost."""
    left = trunk.hash_at(40)
    reorganise(filled, trunk)
    (record,) = filled.lost_transactions()
    assert (record.row_id, record.time, record.txid, record.height, record.block_hash) == (1, 1234.5, LATE, 40, left)
    assert (record.scripts, record.inputs, record.received, record.sent) == ((B,), (SPENT,), 70, 0)
    assert (record.returned, record.conflict, record.coinbase) == (None, None, False)
    assert [tx.txid for tx in filled.transactions()] == [EARLY]
    assert filled.lost_transactions(after=1) == []
    assert filled.lost_end() == 1


def test_it_is_kept_over_a_restart_and_is_no_part_of_the_chain(filled: Store, trunk: FakeChain, tmp_path: Path) -> None:
    """Two stores with the same chain have one digest, whatever was lost on the way; roll-backs leave the record."""
    filled.commit([trunk.roll_back(30)])
    digest = filled.digest()
    searched_again(filled, trunk, payment(LATE, 40, B, SPENT))
    reorganise(filled, trunk)
    assert (filled.digest(), filled.check()) == (digest, ())
    filled.commit([trunk.roll_back(5)])
    filled.close()
    again = Store.open(tmp_path, SIMNET)
    assert [record.txid for record in again.lost_transactions()] == [LATE]
    again.close()


def test_one_that_comes_back_says_where(filled: Store, trunk: FakeChain) -> None:
    """Found at another height it is found, and its record tells the height; lost again there is a second record."""
    reorganise(filled, trunk)
    searched_again(filled, trunk, payment(LATE, 45, B, SPENT))
    assert [(record.height, record.returned) for record in filled.lost_transactions()] == [(40, 45)]
    reorganise(filled, trunk)
    assert [(record.height, record.returned) for record in filled.lost_transactions()] == [(40, None), (45, None)]


def test_a_rival_in_a_block_or_under_a_lock_is_named(filled: Store, trunk: FakeChain) -> None:
    """Who spends the same input now keeps it from coming back."""
    reorganise(filled, trunk)
    filled.commit([RecordInstantLock(LATE, (SPENT,), b"its own lock", 103, trunk.hash_at(5))])
    assert filled.lost_transactions()[0].conflict is None
    searched_again(filled, trunk, payment(RIVAL, 41, A, SPENT))
    assert filled.lost_transactions()[0].conflict == RIVAL


def test_a_lock_of_another_transaction_is_a_rival_too(filled: Store, trunk: FakeChain) -> None:
    reorganise(filled, trunk)
    filled.commit([RecordInstantLock(RIVAL, (SPENT,), b"lock", 103, trunk.hash_at(5))])
    assert filled.lost_transactions()[0].conflict == RIVAL


def test_a_coinbase_that_was_lost_is_void(filled: Store, trunk: FakeChain) -> None:
    filled.commit([RollBackFilters(39)])
    filled.commit([trunk.append_filter_headers(40, 11), trunk.put_filters(range(40, 51))])
    filled.commit([MarkMatched((A, B), 40, 50, (40,)), payment(LATE, 40, B, position=0)])
    reorganise(filled, trunk)
    assert filled.lost_transactions()[0].coinbase


def test_with_its_script_the_record_is_forgotten(filled: Store, trunk: FakeChain) -> None:
    """What concerns another watched script stays."""
    reorganise(filled, trunk, to=10)
    assert [record.txid for record in filled.lost_transactions()] == [EARLY, LATE]
    filled.commit([RemoveWatch((B,))])
    assert [record.txid for record in filled.lost_transactions()] == [EARLY]


def test_only_so_many_stay_but_all_of_the_last_reorganisation(
    filled: Store, trunk: FakeChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost, "KEPT", 1)
    reorganise(filled, trunk, to=10)
    assert [record.txid for record in filled.lost_transactions()] == [EARLY, LATE]
    filled.commit([trunk.append(11, 40), trunk.append_filter_headers(11, 40), trunk.put_filters(range(11, 51))])
    filled.commit([MarkMatched((A, B), 11, 50, (40,)), payment(LATE, 40, B, SPENT)])
    reorganise(filled, trunk, to=10)
    assert [(record.row_id, record.txid) for record in filled.lost_transactions()] == [(3, LATE)]


def test_a_height_that_is_not_stored_is_refused(filled: Store) -> None:
    with pytest.raises(ValueError, match="nothing can leave the chain above 51"):
        filled.commit([RecordLost(51, 0.0)])


def test_a_damaged_record_is_named_skipped_and_dropped(filled: Store, trunk: FakeChain, tmp_path: Path) -> None:
    """It costs no height of the chain and none of the other records."""
    reorganise(filled, trunk, to=10)
    filled.close()
    connection = apsw.Connection(str(tmp_path / "simnet.sqlite"))
    connection.execute("UPDATE lost_transactions SET details = x'00' WHERE row_id = 1")
    connection.close()
    store = Store.open(tmp_path, SIMNET)
    assert [record.txid for record in store.lost_transactions()] == [LATE]
    assert store.check() == (Damage("lost transactions", "lost_transactions", 10, 10),)
    store.close()
    repaired = Store.repair(tmp_path, SIMNET)
    assert (repaired.from_height, repaired.to_height) == (10, 10)
    store = Store.open(tmp_path, SIMNET)
    assert ([record.txid for record in store.lost_transactions()], store.check()) == ([LATE], ())
    store.close()
