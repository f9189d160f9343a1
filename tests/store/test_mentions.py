"""What transactions mention in their payloads, stored: found like payments, counted as none, gone with its item."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddKeyChains,
    AddWatch,
    Balance,
    LabelWatch,
    MarkMatched,
    RecordBlock,
    RecordLost,
    RemoveWatch,
    Store,
    StoredKeyChain,
)
from tests.paid_key_chains import descriptor, script

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

KEY, HASH, PAYOUT = b"\1" * 20, b"\2" * 32, b"payout"
REGISTERED, UPDATED = b"r" * 32, b"u" * 32
FOREIGN = (OutPoint(b"f" * 32, 2),)


def mentioning(height: int, txid: bytes, *elements: bytes) -> RecordBlock:
    """A block with a transaction that mentions `elements`, sorted."""
    return RecordBlock(height, BlockFindings(height, (FoundTransaction(txid, 2, elements, 0, 0, FOREIGN, elements),)))


@pytest.fixture
def filled(store: Store, trunk: FakeChain) -> Store:
    """100 blocks; a registration in block 20, an update in block 30."""
    store.commit([trunk.append(1, 100), trunk.append_filter_headers(0, 101), trunk.put_filters(range(101))])
    store.commit([AddWatch(((KEY, "key"), (HASH, "node"), (PAYOUT, "")))])
    store.commit([MarkMatched((KEY, HASH, PAYOUT), 0, 100, (20, 30))])
    store.commit([mentioning(20, REGISTERED, KEY, PAYOUT), mentioning(30, UPDATED, HASH)])
    return store


def test_what_is_mentioned_is_found_with_its_labels_and_moves_nothing(filled: Store) -> None:
    told = [(tx.txid, tx.height, tx.scripts, tx.amount, tx.labels) for tx in filled.history()]
    assert told == [(REGISTERED, 20, (KEY, PAYOUT), 0, ("key",)), (UPDATED, 30, (HASH,), 0, ("node",))]
    assert filled.holdings() == dict.fromkeys((KEY, HASH, PAYOUT), Balance())
    assert (filled.utxos(), filled.check()) == ([], ())
    for element, txid in ((KEY, REGISTERED), (PAYOUT, REGISTERED), (HASH, UPDATED)):
        assert [tx.txid for tx in filled.history(script=element)] == [txid]


def test_a_mention_goes_with_its_item_and_the_transaction_with_its_last_one(filled: Store) -> None:
    filled.commit([RemoveWatch((KEY,))])
    assert [tx.scripts for tx in filled.transactions()] == [(PAYOUT,), (HASH,)]
    filled.commit([RemoveWatch((PAYOUT,))])
    assert [tx.txid for tx in filled.transactions()] == [UPDATED]
    filled.commit([AddWatch(((KEY, ""), (PAYOUT, "")))])
    assert [tx.scripts for tx in filled.transactions()] == [(HASH,)]
    assert filled.check() == ()


def test_what_is_not_watched_any_more_when_its_block_is_recorded_is_not_found(filled: Store) -> None:
    for at in (40, 41):
        late = mentioning(at, bytes((at,)) * 32, KEY, HASH)
        filled.commit([RemoveWatch((KEY,)), *[late] * (at - 39)])
        assert filled.transactions()[-1].scripts == (HASH,)
    filled.commit([RemoveWatch((HASH,)), mentioning(42, b"x" * 32, HASH)])
    assert [tx.scripts for tx in filled.transactions()] == [(PAYOUT,)]


def test_what_is_learnt_later_of_a_transaction_gives_it_a_new_row_id(filled: Store) -> None:
    last = filled.transactions()[-1].row_id
    filled.commit([AddWatch(((b"\3" * 20, ""),)), mentioning(20, REGISTERED, KEY, b"\3" * 20, PAYOUT)])
    (renewed,) = filled.transactions(after=last)
    assert (renewed.txid, renewed.scripts) == (REGISTERED, (KEY, b"\3" * 20, PAYOUT))
    filled.commit([mentioning(20, REGISTERED, KEY, b"\3" * 20, PAYOUT)])
    assert filled.transactions(after=renewed.row_id) == []


def test_a_reorganisation_takes_mentions_along_and_remembers_them(filled: Store, trunk: FakeChain) -> None:
    filled.commit([RecordLost(25, 1.5), trunk.roll_back(25)])
    assert [tx.txid for tx in filled.transactions()] == [REGISTERED]
    (gone,) = filled.lost_transactions()
    assert (gone.txid, gone.scripts, gone.received, gone.sent, gone.returned) == (UPDATED, (HASH,), 0, 0, None)
    filled.commit([trunk.append(26, 75), trunk.append_filter_headers(26, 75), trunk.put_filters(range(26, 101))])
    filled.commit([MarkMatched((KEY, HASH, PAYOUT), 26, 100, (35,)), mentioning(35, UPDATED, HASH)])
    assert [record.returned for record in filled.lost_transactions()] == [35]
    assert [tx.scripts for tx in filled.transactions()] == [(KEY, PAYOUT), (HASH,)]
    filled.commit([RemoveWatch((HASH,))])
    assert filled.lost_transactions() == []


def test_a_transaction_that_pays_and_mentions_stays_for_either(filled: Store) -> None:
    coin = Coin(OutPoint(b"b" * 32, 0), 7, PAYOUT, 50)
    both = FoundTransaction(b"b" * 32, 1, (KEY, PAYOUT), 7, 0, FOREIGN, (KEY,))
    filled.commit([RecordBlock(50, BlockFindings(50, (both,), (coin,)))])
    assert [(tx.scripts, tx.received) for tx in filled.history(script=PAYOUT)][-1] == ((KEY, PAYOUT), 7)
    filled.commit([LabelWatch(((PAYOUT, "pay"),)), RemoveWatch((KEY,))])
    assert [(tx.scripts, tx.labels) for tx in filled.history(script=PAYOUT)][-1] == ((PAYOUT,), ("pay",))
    filled.commit(
        [AddWatch(((KEY, ""),)), RecordBlock(50, BlockFindings(50, (both,), (coin,))), RemoveWatch((PAYOUT,))]
    )
    assert [(tx.scripts, tx.received) for tx in filled.history(script=KEY)] == [((KEY,), 0)]
    assert filled.check() == ()


def test_a_mentioned_script_of_a_key_chain_is_used(filled: Store) -> None:
    """A payout address that was given away: what is paid to the next ones must not be missed."""
    text = str(descriptor(0, 0))
    filled.commit([AddKeyChains(((text, 3),)), mentioning(50, b"m" * 32, script(0, 0, 1))])
    assert filled.key_chains() == [StoredKeyChain(text, 3, 6)]
    filled.commit([mentioning(51, b"n" * 32, script(0, 0, 4)), mentioning(51, b"n" * 32, script(0, 0, 4))])
    assert filled.key_chains() == [StoredKeyChain(text, 3, 12)]


def test_a_use_that_left_the_chain_before_the_key_chain_was_watched_is_none(filled: Store, trunk: FakeChain) -> None:
    text = str(descriptor(0, 0))
    filled.commit([AddWatch(((script(0, 0, 1), ""),)), mentioning(50, b"m" * 32, script(0, 0, 1))])
    filled.commit([trunk.roll_back(45)])
    filled.commit([AddKeyChains(((text, 3),)), mentioning(40, b"o" * 32, KEY)])
    assert filled.key_chains() == [StoredKeyChain(text, 3, 3)]
