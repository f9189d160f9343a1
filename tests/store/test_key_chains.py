"""Chains of keys in the store: as many unused scripts watched as the gap limit says, in every committed state."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.descriptors import parse_descriptors
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import (
    AddKeyChains,
    AddWatch,
    MarkMatched,
    RecordBlock,
    RemoveKeyChains,
    RemoveWatch,
    Store,
    StoreCorrupt,
    StoredKeyChain,
)
from tests.paid_key_chains import account_text, descriptor, script

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

PAID, CHANGE = str(descriptor(0, 0)), str(descriptor(0, 1))
BOTH = f"combo({account_text(0)}/0/*)"
"""Overlaps with `PAID`."""


def ours(index: int) -> bytes:
    return script(0, 0, index)


def scripts(text: str, count: int) -> set[bytes]:
    (one,) = parse_descriptors(text, SIMNET)
    return {found for index in range(count) for found in one.scripts(index)}


def paid(height: int, to: bytes, number: int = 0) -> RecordBlock:
    """A block with a payment in it."""
    txid = bytes((height, number)) * 16
    coin = Coin(OutPoint(txid, 0), 50, to, height)
    return RecordBlock(height, BlockFindings(height, (FoundTransaction(txid, 1, (to,), 50, 0),), (coin,)))


def watched(store: Store) -> set[bytes]:
    return {item.script for item in store.watch_items()}


@pytest.fixture
def synced(store: Store, trunk: FakeChain) -> Store:
    """A store with 100 blocks and their filters."""
    store.commit([trunk.append(1, 100), trunk.append_filter_headers(0, 101), trunk.put_filters(range(101))])
    return store


def test_a_new_chain_is_watched_as_far_as_its_gap_limit(synced: Store) -> None:
    marks = synced.commit([AddKeyChains(((PAID, 5), (CHANGE, 3)))])
    assert synced.key_chains() == [StoredKeyChain(PAID, 5, 5), StoredKeyChain(CHANGE, 3, 3)]
    assert watched(synced) == scripts(PAID, 5) | scripts(CHANGE, 3)
    assert (marks.watch_items, marks.matched) == (8, -1)


def test_a_use_makes_a_chain_longer_in_the_same_transaction(synced: Store) -> None:
    """What was matched to the tip is not any more, for the marks of that very commit; and by doubling, not by one."""
    synced.commit([AddKeyChains(((PAID, 5), (CHANGE, 3)))])
    synced.commit([MarkMatched(tuple(sorted(watched(synced))), 0, 100, (7,))])
    assert synced.marks.matched == 100
    marks = synced.commit([paid(7, ours(0))])
    assert (marks.matched, marks.pending_blocks) == (-1, 0)
    assert synced.key_chains() == [StoredKeyChain(PAID, 5, 10), StoredKeyChain(CHANGE, 3, 3)]
    assert watched(synced) == scripts(PAID, 10) | scripts(CHANGE, 3)
    assert synced.commit([paid(8, ours(4), 1)]).watch_items == 13
    assert synced.commit([paid(9, ours(5))]).watch_items == 23


def test_what_was_found_before_a_chain_is_watched_counts(synced: Store) -> None:
    """A script that was watched for itself, and paid: no block will tell of it again."""
    synced.commit([AddWatch(((ours(6), ""), (ours(17), ""))), paid(7, ours(6)), paid(8, ours(17))])
    synced.commit([AddKeyChains(((PAID, 4),))])
    assert synced.key_chains() == [StoredKeyChain(PAID, 4, 4)]
    synced.commit([paid(9, ours(1))])
    assert synced.key_chains() == [StoredKeyChain(PAID, 4, 16)]
    synced.commit([paid(10, ours(13))])
    assert synced.key_chains() == [StoredKeyChain(PAID, 4, 32)]
    assert synced.watched_alone() == {ours(6), ours(17)}


def test_a_longer_gap_limit_is_kept_at_once_and_a_shorter_one_takes_nothing_back(synced: Store) -> None:
    synced.commit([AddKeyChains(((PAID, 4),)), paid(7, ours(2))])
    assert synced.key_chains() == [StoredKeyChain(PAID, 4, 8)]
    synced.commit([AddKeyChains(((PAID, 6),))])
    assert synced.key_chains() == [StoredKeyChain(PAID, 6, 16)]
    synced.commit([AddKeyChains(((PAID, 2),))])
    assert synced.key_chains() == [StoredKeyChain(PAID, 2, 16)]


def test_a_chain_that_goes_takes_along_what_nothing_else_asks_for(synced: Store) -> None:
    synced.commit([AddWatch(((ours(2), "mine"),)), AddKeyChains(((PAID, 4), (BOTH, 2)))])
    synced.commit([paid(7, ours(0)), paid(8, ours(2)), paid(9, ours(3))])
    synced.commit([RemoveKeyChains((PAID, CHANGE))])
    assert watched(synced) == scripts(BOTH, 8)
    assert synced.watched_alone() == {ours(2)}
    assert {tx.height for tx in synced.transactions()} == {7, 8, 9}
    synced.commit([RemoveKeyChains((BOTH,))])
    assert [(item.script, item.label) for item in synced.watch_items()] == [(ours(2), "mine")]
    assert {tx.height for tx in synced.transactions()} == {8}
    synced.commit([RemoveWatch((ours(2),))])
    assert watched(synced) == set()


def test_a_script_of_a_chain_stays_watched_when_it_is_given_up_for_itself(synced: Store) -> None:
    synced.commit([AddKeyChains(((PAID, 4),)), AddWatch(((ours(1), ""), (ours(9), "")))])
    assert synced.watched_alone() == {ours(1), ours(9)}
    synced.commit([paid(7, ours(1))])
    synced.commit([RemoveWatch((ours(1), ours(2), ours(9)))])
    assert watched(synced) == scripts(PAID, 8)
    assert synced.watched_alone() == set()
    assert [tx.height for tx in synced.transactions()] == [7]
    synced.commit([RemoveKeyChains((PAID,))])
    assert watched(synced) == set()


def test_a_reorganisation_takes_no_script_back(synced: Store, trunk: FakeChain) -> None:
    """What was given away once may be paid to again."""
    synced.commit([AddKeyChains(((PAID, 4),)), paid(90, ours(3))])
    synced.commit([trunk.roll_back(50)])
    assert synced.key_chains() == [StoredKeyChain(PAID, 4, 8)]
    assert watched(synced) == scripts(PAID, 8)


@pytest.mark.parametrize(
    "item",
    [("pkh(x)", 3), (PAID, 0), (f"pkh([00000000]{account_text(0)}/0/*)", 3), (f"pkh({account_text(0)}/0)", 3)],
)
def test_what_is_no_chain_is_a_bug_of_the_caller(synced: Store, item: tuple[str, int]) -> None:
    before = synced.digest()
    with pytest.raises(ValueError, match=r"key chain|extended key"):
        synced.commit([AddKeyChains((item,))])
    assert synced.digest() == before


def test_chains_outlive_the_process_and_are_part_of_the_digest(synced: Store, tmp_path: Path) -> None:
    before = synced.digest()
    synced.commit([AddKeyChains(((PAID, 4),)), paid(7, ours(3))])
    after, marks = synced.digest(), synced.marks
    synced.close()
    store = Store.open(tmp_path, SIMNET)
    assert (store.key_chains(), store.marks, store.digest()) == ([StoredKeyChain(PAID, 4, 8)], marks, after)
    store.commit([RemoveKeyChains((PAID,))])
    assert store.digest() == before != after
    store.close()


def test_a_damaged_chain_is_noticed_and_named(synced: Store, tmp_path: Path) -> None:
    """Only its owner knows it."""
    import apsw

    synced.commit([AddKeyChains(((PAID, 4),))])
    synced.close()
    connection = apsw.Connection(str(tmp_path / "simnet.sqlite"))
    connection.execute("UPDATE key_chains SET gap = 5")
    connection.close()
    with pytest.raises(StoreCorrupt, match=r"watched key chains are damaged \(table key_chains\)"):
        Store.open(tmp_path, SIMNET)
    with pytest.raises(StoreCorrupt, match="which only their owner knows"):
        Store.repair(tmp_path, SIMNET)


class ChainsMachine(RuleBasedStateMachine):
    """A store beside a few dicts: whatever is added, removed, paid and rolled back."""

    room: Path
    chain: FakeChain

    def __init__(self) -> None:
        super().__init__()
        place = tempfile.mkdtemp(dir=self.room)
        self.store = Store.open(Path(place), SIMNET)
        self.store.commit([self.chain.append(1, 60)])
        self.chains: dict[str, tuple[int, int]] = {}
        self.alone: set[bytes] = set()
        self.coins: dict[tuple[int, bytes], int] = {}

    def teardown(self) -> None:
        self.store.close()

    @property
    def wanted(self) -> set[bytes]:
        return self.alone.union(*[scripts(text, derived) for text, (_, derived) in self.chains.items()])

    def grow(self) -> None:
        used = {to for _, to in self.coins}
        for text, (gap, derived) in self.chains.items():
            while used & (scripts(text, derived) - scripts(text, max(0, derived - gap))):
                derived *= 2
            self.chains[text] = gap, derived

    def forget(self) -> None:
        self.coins = {place: number for place, number in self.coins.items() if place[1] in self.wanted}

    @rule(text=st.sampled_from([PAID, BOTH, CHANGE]), gap=st.integers(1, 4))
    def add_chain(self, text: str, gap: int) -> None:
        self.store.commit([AddKeyChains(((text, gap),))])
        self.chains[text] = gap, max(gap, self.chains.get(text, (0, 0))[1])
        self.grow()

    @rule(text=st.sampled_from([PAID, BOTH, CHANGE]))
    def remove_chain(self, text: str) -> None:
        self.store.commit([RemoveKeyChains((text,))])
        self.chains.pop(text, None)
        self.forget()

    @rule(index=st.integers(0, 12), branch=st.integers(0, 1))
    def add_script(self, index: int, branch: int) -> None:
        self.store.commit([AddWatch(((script(0, branch, index), ""),))])
        self.alone.add(script(0, branch, index))

    @rule(index=st.integers(0, 12), branch=st.integers(0, 1))
    def remove_script(self, index: int, branch: int) -> None:
        self.store.commit([RemoveWatch((script(0, branch, index),))])
        self.alone.discard(script(0, branch, index))
        self.forget()

    @rule(index=st.integers(0, 12), branch=st.integers(0, 1), height=st.integers(1, 60))
    def pay(self, index: int, branch: int, height: int) -> None:
        to = script(0, branch, index)
        self.store.commit([paid(height, to, 20 * branch + index)])
        if to in self.wanted:
            self.coins[height, to] = 20 * branch + index
        self.grow()

    @rule(to=st.integers(1, 60))
    def fork(self, to: int) -> None:
        self.store.commit([self.chain.roll_back(to), *[self.chain.append(to + 1, 60 - to)] * (to < 60)])
        self.coins = {place: number for place, number in self.coins.items() if place[0] <= to}

    @invariant()
    def the_store_is_what_the_dicts_say(self) -> None:
        assert watched(self.store) == self.wanted
        assert self.store.watched_alone() == self.alone
        assert {c.descriptor: (c.gap, c.derived) for c in self.store.key_chains()} == self.chains
        assert {(coin.height, coin.script) for coin in self.store.coins().values()} == self.coins.keys()
        for text, (gap, derived) in self.chains.items():
            unused = scripts(text, derived) - scripts(text, derived - gap)
            assert unused.isdisjoint(to for _, to in self.coins)


def test_every_committed_state_keeps_the_law(tmp_path: Path, trunk: FakeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any sequence of changes: what is watched is what is asked for, and what is newest in a chain is unused."""
    monkeypatch.setattr(ChainsMachine, "room", tmp_path, raising=False)
    monkeypatch.setattr(ChainsMachine, "chain", trunk, raising=False)
    run_state_machine_as_test(
        ChainsMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
