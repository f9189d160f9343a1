"""The history, the coins and the balances as a wallet shows them: depth, locks, labels, maturity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddWatch,
    Balance,
    LabelWatch,
    MarkMatched,
    RecordBlock,
    RecordChainLock,
    RecordInstantLock,
    SetQuorumSet,
    Store,
    StoredTransaction,
)
from tests.store.store_model import commitment

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

A, B = b"script a", b"script b"
MINED, PAID, SPENT = b"m" * 32, b"p" * 32, b"s" * 32
FOREIGN = OutPoint(b"f" * 32, 2)
TIP = 120


@pytest.fixture
def filled(store: Store, trunk: FakeChain) -> Store:
    """A coinbase to A at 21, a payment to A at 60, and at 100 its spend, with change to B; 120 blocks, a quorum."""
    store.commit([trunk.append(1, TIP), trunk.append_filter_headers(0, TIP + 1), trunk.put_filters(range(TIP + 1))])
    store.commit([SetQuorumSet(10, trunk.hash_at(10), (commitment(103, trunk.hash_at(5)),))])
    store.commit([AddWatch(((A, "shop"), (B, ""))), MarkMatched((A, B), 0, TIP, (21, 60, 100))])
    mined = Coin(OutPoint(MINED, 0), 1000, A, 21)
    store.commit([RecordBlock(21, BlockFindings(21, (FoundTransaction(MINED, 0, (A,), 1000, 0),), (mined,)))])
    paid, change = Coin(OutPoint(PAID, 1), 500, A, 60), Coin(OutPoint(SPENT, 0), 450, B, 100)
    payment = FoundTransaction(PAID, 3, (A,), 500, 0, (FOREIGN,))
    store.commit([RecordBlock(60, BlockFindings(60, (payment,), (paid,)))])
    spend = FoundTransaction(SPENT, 2, (A, B), 450, 500, (paid.outpoint,))
    store.commit([RecordBlock(100, BlockFindings(100, (spend,), (change,), ((paid.outpoint, SPENT),)))])
    return store


def lock_block(store: Store, chain: FakeChain, height: int) -> None:
    store.commit([RecordChainLock(height, chain.hash_at(height), b"\7" * 96, 103, chain.hash_at(5), 10)])


def lock_spend(store: Store, chain: FakeChain, txid: bytes, spent: OutPoint) -> None:
    store.commit([RecordInstantLock(txid, (spent,), b"lock", 103, chain.hash_at(5))])


def test_each_transaction_says_how_deep_it_is_and_when_it_was_mined(filled: Store, trunk: FakeChain) -> None:
    """Confirmations count its own block; time and hash are those of its header."""
    told = filled.history()
    assert [(tx.txid, tx.confirmations) for tx in told] == [(MINED, 100), (PAID, 61), (SPENT, 21)]
    assert [tx.block_hash for tx in told] == [trunk.hash_at(height) for height in (21, 60, 100)]
    assert [tx.time for tx in told] == [21, 60, 100]  # what the headers of this chain state
    assert [(tx.coinbase, tx.amount) for tx in told] == [(True, 1000), (False, 500), (False, -50)]
    filled.commit([trunk.append(TIP + 1, 5)])
    assert [tx.confirmations for tx in filled.history()] == [105, 66, 26]


def test_what_is_at_or_below_the_best_chainlock_is_locked(filled: Store, trunk: FakeChain) -> None:
    """A lock at the very height counts; one block lower does not."""
    assert not any(tx.chainlock or tx.locked for tx in filled.history())
    lock_block(filled, trunk, 59)
    assert [tx.chainlock for tx in filled.history()] == [True, False, False]
    lock_block(filled, trunk, 60)
    assert [tx.chainlock for tx in filled.history()] == [True, True, False]
    assert [tx.locked for tx in filled.history()] == [True, True, False]


def test_a_contradicted_transaction_names_the_other_one(filled: Store, trunk: FakeChain) -> None:
    """The rival is told as long as no lock of its own decides; then it is locked."""
    assert [tx.instantlock for tx in filled.history()] == [None, None, None]
    lock_spend(filled, trunk, b"r" * 32, FOREIGN)
    told = [(tx.instantlock, tx.conflict) for tx in filled.history()]
    assert told == [(None, None), (False, b"r" * 32), (None, None)]
    assert filled.contradicted(b"r" * 32) == [PAID]
    assert (filled.locked_against(PAID), filled.locked_against(SPENT)) == (b"r" * 32, None)
    lock_spend(filled, trunk, PAID, FOREIGN)
    assert [(tx.instantlock, tx.conflict) for tx in filled.history()][1] == (True, None)
    assert filled.contradicted(b"r" * 32) == []


def test_labels_are_those_of_the_scripts_as_they_are_now(filled: Store) -> None:
    """Distinct, in the order of the scripts, without the empty ones; relabelling shows at once, and is all it does."""
    assert [tx.labels for tx in filled.history()] == [("shop",), ("shop",), ("shop",)]
    before, row_ids = filled.digest(), [tx.row_id for tx in filled.history()]
    filled.commit([LabelWatch(((A, "rent"), (B, "till"), (b"unknown", "x")))])
    assert [tx.labels for tx in filled.history()] == [("rent",), ("rent",), ("rent", "till")]
    filled.commit([LabelWatch(((B, "rent"),))])
    assert filled.history()[-1].labels == ("rent",)
    assert [tx.row_id for tx in filled.history()] == row_ids
    filled.commit([LabelWatch(((A, "shop"), (B, "")))])
    assert (filled.digest(), filled.check()) == (before, ())


def test_the_history_of_one_script_and_pages_of_it(filled: Store) -> None:
    """A script sees what pays it and what spends from it; pages follow the row ids and lose nothing."""
    assert [tx.txid for tx in filled.history(script=A)] == [MINED, PAID, SPENT]
    assert [tx.txid for tx in filled.history(script=B)] == [SPENT]
    assert filled.history(script=b"unknown") == []
    pages, after = list[bytes](), 0
    while page := filled.history(after, limit=2):
        assert len(page) <= 2
        pages += [tx.txid for tx in page]
        after = max(tx.row_id for tx in page)
    assert pages == [MINED, PAID, SPENT]
    assert [tx.txid for tx in filled.history(1, A, 1)] == [PAID]
    assert filled.history(limit=0) == []


def test_utxos_are_what_is_unspent_with_all_that_holds_it(filled: Store, trunk: FakeChain) -> None:
    """The spent coin is gone; value, label, depth and locks are those of the transaction that made it."""
    mined, change = filled.utxos()
    assert (mined.outpoint, mined.value, mined.label, mined.coinbase) == (OutPoint(MINED, 0), 1000, "shop", True)
    assert (change.outpoint, change.script, change.height, change.confirmations) == (OutPoint(SPENT, 0), B, 100, 21)
    assert (change.locked, change.instantlock, change.conflicted) == (False, None, False)
    lock_spend(filled, trunk, b"r" * 32, OutPoint(PAID, 1))
    assert (filled.utxos(B)[0].instantlock, filled.utxos(B)[0].conflicted) == (False, True)
    lock_block(filled, trunk, 100)
    assert (filled.utxos(B)[0].chainlock, filled.utxos(B)[0].conflicted) == (True, False)
    assert [coin.outpoint for coin in filled.utxos(A)] == [mined.outpoint]


def test_a_coinbase_may_be_spent_from_its_hundredth_confirmation_on(filled: Store, trunk: FakeChain) -> None:
    """One block earlier the money is there, and immature."""
    (mined,) = filled.utxos(A)
    assert (mined.confirmations, mined.mature) == (100, True)
    filled.commit([trunk.roll_back(TIP - 1)])
    (mined,) = filled.utxos(A)
    assert (mined.confirmations, mined.mature) == (99, False)
    assert filled.holdings()[A] == Balance(immature=1000)
    assert filled.holdings()[A].total == 1000


def test_a_balance_says_how_much_of_it_is_held(filled: Store, trunk: FakeChain) -> None:
    """Of what is confirmed a part is locked and a part contradicted; the sum over scripts is that over coins."""
    assert filled.holdings() == {A: Balance(1000), B: Balance(450)}
    lock_block(filled, trunk, 60)
    lock_spend(filled, trunk, b"r" * 32, OutPoint(PAID, 1))
    assert filled.holdings() == {A: Balance(1000, 1000), B: Balance(450, 0, 450)}
    both = Balance.of(filled.utxos())
    assert both == filled.holdings()[A] + filled.holdings()[B] == Balance(1450, 1000, 450)
    assert (both.total, both.unlocked) == (1450, 450)
    assert {script: held.total for script, held in filled.holdings().items()} == filled.balances()


def test_history_and_transactions_agree(filled: Store) -> None:
    """What both tell is the same."""
    names = [field.name for field in attrs.fields(StoredTransaction)]
    plain = [attrs.asdict(tx, recurse=False) for tx in filled.transactions()]
    assert [{name: getattr(tx, name) for name in names} for tx in filled.history()] == plain


def test_blocks_far_apart_are_read_from_their_segments(store: Store, trunk: FakeChain) -> None:
    """Times and hashes come right from sealed segments and from the tail."""
    store.commit([trunk.append(1, 9000), trunk.append_filter_headers(0, 9001)])
    store.commit([trunk.put_filters(range(9001))])
    heights = (1, 1999, 2000, 4001, 7000, 9000)
    store.commit([AddWatch(((A, ""),)), MarkMatched((A,), 0, 9000, heights)])
    for height in heights:
        txid = height.to_bytes(32, "big")
        coin = Coin(OutPoint(txid, 0), 1, A, height)
        store.commit([RecordBlock(height, BlockFindings(height, (FoundTransaction(txid, 1, (A,), 1, 0),), (coin,)))])
    assert [(tx.time, tx.block_hash) for tx in store.history()] == [(h, trunk.hash_at(h)) for h in heights]
