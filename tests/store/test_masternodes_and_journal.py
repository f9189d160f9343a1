"""Masternode states follow the chain; the journal is bounded and ordered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phasegate.consensus.params import SIMNET
from phasegate.store import AppendJournal, JournalRow, KeepHistory, SetMasternodes, Store

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain


def state_at(chain: FakeChain, height: int) -> SetMasternodes:
    return SetMasternodes(height, chain.hash_at(height), b"state %d" % height)


def entry(number: int) -> AppendJournal:
    return AppendJournal(number + 0.5, f"from {number}", "to", "advance", "because", '{"headers_complete": true}')


def test_the_newest_state_is_the_one_in_use(store: Store, trunk: FakeChain) -> None:
    marks = store.commit([trunk.append(1, 50), state_at(trunk, 10), state_at(trunk, 30)])
    assert (marks.masternodes, marks.masternodes_hash) == (30, trunk.hash_at(30))
    assert store.masternode_state() == b"state 30"


def test_a_roll_back_lands_on_an_older_state(store: Store, trunk: FakeChain) -> None:
    store.commit([trunk.append(1, 50), *(state_at(trunk, height) for height in range(10, 31))])
    marks = store.commit([trunk.roll_back(25)])
    assert (marks.masternodes, marks.masternodes_hash, store.masternode_state()) == (25, trunk.hash_at(25), b"state 25")
    assert store.commit([trunk.roll_back(22)]).masternodes is None
    assert store.masternode_state() is None


def test_a_state_may_be_replaced_at_its_height(store: Store, trunk: FakeChain) -> None:
    store.commit([trunk.append(1, 50), state_at(trunk, 10)])
    store.commit([SetMasternodes(10, trunk.hash_at(10), b"better")])
    assert store.masternode_state() == b"better"


def test_the_digest_does_not_know_how_many_states_led_here(tmp_path: Path, trunk: FakeChain) -> None:
    digests = set()
    for heights in ([40], [3, 17, 40], range(20, 41)):
        store = Store.open(tmp_path / str(heights), SIMNET)
        store.commit([trunk.append(1, 50), *(state_at(trunk, height) for height in heights)])
        digests.add(store.digest())
        store.close()
    assert len(digests) == 1


def test_the_journal_keeps_its_order_and_pages(store: Store) -> None:
    assert store.journal_end() == 0
    store.commit([entry(number) for number in range(5)])
    rows = store.journal()
    assert [row.source for row in rows] == [f"from {number}" for number in range(5)]
    assert rows[0] == JournalRow(1, 0.5, "from 0", "to", "advance", "because", '{"headers_complete": true}')
    assert store.journal(after=rows[1].row_id, limit=2) == rows[2:4]
    assert store.journal_end() == rows[-1].row_id


def test_the_journal_keeps_only_the_newest_rows(store: Store) -> None:
    store.commit([*(entry(number) for number in range(10)), KeepHistory(3)])
    assert [row.row_id for row in store.journal()] == [8, 9, 10]
    store.commit([KeepHistory(0), entry(10)])
    assert [row.row_id for row in store.journal()] == [11]


def test_the_journal_is_no_part_of_the_digest(store: Store) -> None:
    digest = store.digest()
    store.commit([entry(1)])
    assert store.digest() == digest
