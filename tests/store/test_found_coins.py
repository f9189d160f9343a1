"""Watch items, matches, coins and transactions: found once, counted once, undone by a roll-back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.primitives import OutPoint
from phasegate.store import AddWatch, MarkMatched, RecordBlock, RemoveWatch, Store, StoredTransaction, WatchItem

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

A, B = b"script a", b"script b"
PAY, SPEND = b"p" * 32, b"s" * 32
AT = OutPoint(PAY, 0)
COIN = Coin(AT, 500, A, 10)
CHANGE = Coin(OutPoint(SPEND, 1), 450, B, 20)
PAID = BlockFindings(10, (FoundTransaction(PAY, 1, (A,), 500, 0),), (COIN,), ())
SPENT = BlockFindings(20, (FoundTransaction(SPEND, 3, (A, B), 450, 500),), (CHANGE,), ((AT, SPEND),))


@pytest.fixture
def watching(store: Store, trunk: FakeChain) -> Store:
    """30 blocks with filters; A and B watched and matched to the tip, in blocks 10 and 20."""
    store.commit([trunk.append(1, 30), trunk.append_filter_headers(0, 31), trunk.put_filters(range(31))])
    store.commit([AddWatch(((A, "a"), (B, "b"))), MarkMatched((A, B), 0, 30, (20, 10))])
    return store


def views(found: Sequence[StoredTransaction]) -> list[tuple[bytes, int, tuple[bytes, ...], int, int]]:
    return [(tx.txid, tx.height, tx.scripts, tx.received, tx.sent) for tx in found]


BOTH = [(PAY, 10, (A,), 500, 0), (SPEND, 20, (A, B), 450, 500)]


def test_matched_blocks_are_pending_until_recorded(watching: Store) -> None:
    assert watching.pending(10) == watching.matched_heights() == [10, 20]
    assert (watching.pending(1), watching.pending(10, after=10)) == ([10], [20])
    assert (watching.marks.pending_blocks, watching.marks.matched_blocks, watching.marks.matched) == (2, 2, 30)
    marks = watching.commit([RecordBlock(10, PAID)])
    assert (marks.pending_blocks, marks.matched_blocks) == (1, 2)
    assert watching.pending(10) == [20]


def test_a_payment_and_its_spend_are_found(watching: Store) -> None:
    watching.commit([RecordBlock(10, PAID)])
    assert watching.coins() == {AT: COIN}
    assert watching.balances() == {A: 500, B: 0}
    watching.commit([RecordBlock(20, SPENT)])
    assert watching.coins() == {CHANGE.outpoint: CHANGE}
    assert watching.balances() == {A: 0, B: 450}
    assert views(watching.transactions()) == BOTH
    assert [tx.position for tx in watching.transactions()] == [1, 3]


def test_a_coin_spent_in_its_own_block_is_no_coin(watching: Store) -> None:
    spend = FoundTransaction(SPEND, 2, (A,), 0, 500)
    watching.commit([RecordBlock(10, BlockFindings(10, (*PAID.transactions, spend), (COIN,), ((AT, SPEND),)))])
    assert watching.coins() == {}
    assert views(watching.transactions()) == [(PAY, 10, (A,), 500, 0), (SPEND, 10, (A,), 0, 500)]


def test_recording_again_adds_nothing(watching: Store) -> None:
    watching.commit([RecordBlock(10, PAID), RecordBlock(20, SPENT)])
    digest, found = watching.digest(), watching.transactions()
    watching.commit([RecordBlock(20, SPENT), RecordBlock(10, PAID)])
    assert (watching.digest(), watching.transactions()) == (digest, found)


def test_a_second_search_that_no_longer_sees_the_spent_coin_forgets_nothing(watching: Store) -> None:
    """The spent coin is no longer among `coins()`, so the block's second scan finds only what is new."""
    early = BlockFindings(20, (FoundTransaction(SPEND, 3, (A,), 0, 500),), (), ((AT, SPEND),))
    late = BlockFindings(20, (FoundTransaction(SPEND, 3, (B,), 450, 0),), (CHANGE,), ())
    watching.commit([RecordBlock(10, PAID), RecordBlock(20, early)])
    row_ids = [tx.row_id for tx in watching.transactions()]
    watching.commit([RecordBlock(20, late)])
    assert views(watching.transactions()) == BOTH
    assert [tx.txid for tx in watching.transactions(after=max(row_ids))] == [SPEND]


def test_a_new_item_makes_a_recorded_block_pending_again(watching: Store) -> None:
    watching.commit([RecordBlock(10, PAID), RecordBlock(20, SPENT)])
    marks = watching.commit([AddWatch(((b"c", ""),))])
    assert (marks.matched, marks.watch_items, marks.pending_blocks) == (-1, 3, 0)
    marks = watching.commit([MarkMatched((b"c",), 0, 30, (20, 25))])
    assert (marks.matched, marks.pending_blocks, marks.matched_blocks) == (30, 2, 3)
    assert watching.pending(10) == [20, 25]
    assert views(watching.transactions()) == BOTH


def test_known_items_stay_as_they_are(watching: Store) -> None:
    watching.commit([AddWatch(((A, "other"), (b"c", "c")))])
    assert watching.watch_items() == [WatchItem(b"c", "c", -1), WatchItem(A, "a", 30), WatchItem(B, "b", 30)]


def test_a_forgotten_item_takes_what_concerned_only_it(watching: Store) -> None:
    watching.commit([RecordBlock(10, PAID), RecordBlock(20, SPENT)])
    watching.commit([RemoveWatch((A, b"never watched"))])
    assert views(watching.transactions()) == [(SPEND, 20, (B,), 450, 0)]
    assert watching.balances() == {B: 450}
    assert watching.matched_heights() == [10, 20]


def test_with_the_last_item_go_the_matches(watching: Store) -> None:
    marks = watching.commit([RemoveWatch((A, B))])
    assert (marks.watch_items, marks.matched_blocks, marks.pending_blocks, marks.matched) == (0, 0, 0, 30)
    assert (watching.transactions(), watching.balances(), watching.coins()) == ([], {}, {})


def test_findings_for_an_item_forgotten_meanwhile_are_not_kept(watching: Store) -> None:
    watching.commit([RemoveWatch((A,)), RecordBlock(10, PAID), RecordBlock(20, SPENT)])
    assert views(watching.transactions()) == [(SPEND, 20, (B,), 450, 0)]
    assert watching.marks.pending_blocks == 0


@pytest.mark.parametrize("to", [9, 10, 19, 20])
def test_a_roll_back_undoes_payments_and_spends_above_it(watching: Store, trunk: FakeChain, to: int) -> None:
    watching.commit([RecordBlock(10, PAID), RecordBlock(20, SPENT)])
    marks = watching.commit([trunk.roll_back(to)])
    known = [height for height in (10, 20) if height <= to]
    assert (marks.matched, watching.matched_heights()) == (to, known)
    assert views(watching.transactions()) == BOTH[: len(known)]
    assert watching.balances() == [{A: 0, B: 0}, {A: 500, B: 0}, {A: 0, B: 450}][len(known)]
    assert [item.matched_to for item in watching.watch_items()] == [to, to]


def test_row_ids_are_never_used_again(watching: Store, trunk: FakeChain) -> None:
    """A reader that remembers the last row id sees a transaction again that a fork moved."""
    watching.commit([RecordBlock(10, PAID)])
    last = watching.transactions()[-1].row_id
    watching.commit([trunk.roll_back(9), trunk.append(10, 5), RecordBlock(10, PAID)])
    assert [tx.txid for tx in watching.transactions(after=last)] == [PAY]
