"""Transactions in no block that hang together, what they come to, and what of them a disk and a restart leave."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.locks import InstantLock
from phasegate.consensus.primitives import OutPoint, Transaction, TxOut
from phasegate.engine import unconfirmed
from phasegate.engine.config import watch_script
from phasegate.engine.events import (
    TransactionConflicted,
    TransactionDropped,
    TransactionFound,
    TransactionSeen,
)
from phasegate.p2p.messages import Inv, InvItem, InvType
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import StoreFailed
from phasegate.store.database import Database
from tests.broadcast_crowds import crowd, mine, rival_of
from tests.engine.test_unconfirmed import asked, has_told, made_up, told

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


@pytest.fixture
def chain() -> GeneratedChain:
    """A chain that a test may extend."""
    return generate(260, 7)


def spending(tx: Transaction, value: int | None = None) -> Transaction:
    """A transaction that spends what `tx` pays to its second script, for a stranger, or `value` back to that script."""
    spent = attrs.evolve(tx.inputs[0], prevout=OutPoint(tx.txid, 1))
    script = rival_of(tx).outputs[0].script if value is None else tx.outputs[1].script
    foreign = TxOut(1000, rival_of(tx).outputs[0].script)
    return attrs.evolve(tx, inputs=(spent,), outputs=(foreign, TxOut(5000 if value is None else value, script)))


def take(run: Run, *txs: Transaction) -> None:
    for tx in txs:
        run.client._unconfirmed.take(tx)


async def mined(run: Run, tx: Transaction) -> None:
    with trio.fail_after(60):
        while run.client.store.transaction_height(tx.txid) is None:
            await trio.sleep(0.1)


def held(run: Run) -> list[bytes]:
    return [tx.txid for tx in run.client.unconfirmed()]


@pytest.mark.parametrize("by", ["lock", "block"])
async def test_what_spends_of_a_defeated_one_is_given_up_with_it(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, by: str
) -> None:
    """Only the one that has a rival is told to be in conflict; all are told to be dropped, and none counts."""
    talkers, tx = crowd(world, chain, 1), chain.spend_watched()
    child = spending(tx, 7000)
    grandchild, rival = spending(child), rival_of(tx)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        take(run, tx, child, grandchild)
        assert held(run) == [tx.txid, child.txid, grandchild.txid]
        if by == "lock":
            await talkers[0].offer([chain.lock_transaction(rival)])
        else:
            await mine(talkers, chain, 1, rival)
        await has_told(run, TransactionDropped, 3)
        assert [(event.txid, event.reason) for event in told(run, TransactionDropped)] == [
            (each.txid, "conflicted") for each in (tx, child, grandchild)
        ]
        assert [event.txid for event in told(run, TransactionConflicted)] == [tx.txid]
        assert run.client.unconfirmed() == []
        assert run.client.balance().unconfirmed == 0


async def test_a_locked_one_keeps_what_it_spends_of(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Two weeks later as well; what nothing holds goes, and with it what spends of that."""
    crowd(world, chain, 1)
    tx, other = chain.spend_watched(), chain.spend_watched()
    child, forsaken = spending(tx, 7000), spending(other, 8000)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        take(run, tx, child, other)
        run.client._unconfirmed.locked(lock_of(child))
        for each in run.client._unconfirmed._mempool:
            each.since -= unconfirmed.KEPT + 1
        take(run, forsaken)
        run.client._unconfirmed.sweep()
        assert held(run) == [tx.txid, child.txid]
        await has_told(run, TransactionDropped, 2)
        dropped = [(event.txid, event.reason) for event in told(run, TransactionDropped)]
        assert dropped == [(other.txid, "expired"), (forsaken.txid, "expired")]


def lock_of(tx: Transaction) -> InstantLock:
    return InstantLock(tuple([txin.prevout for txin in tx.inputs]), tx.txid, bytes(32), bytes(96))


async def test_what_came_before_what_it_spends_of_is_valued_again(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """When that is seen in no block; it is told again then, and once."""
    crowd(world, chain, 1)
    tx = chain.spend_watched()
    child = spending(tx, 7000)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        before = run.client.balance()
        take(run, child)
        await has_told(run, TransactionSeen)
        assert [(seen.received, seen.sent) for seen in told(run, TransactionSeen)] == [(7000, 0)]
        take(run, tx)
        await trio.sleep(200)
        (first, parent, again) = told(run, TransactionSeen)
        assert (first.txid, parent.txid, again.txid) == (child.txid, tx.txid, child.txid)
        assert (again.received, again.sent, again.scripts) == (7000, tx.outputs[1].value, first.scripts)
        assert [(seen.received, seen.sent) for seen in run.client.unconfirmed()] == [
            (again.received, again.sent),
            (parent.received, parent.sent),
        ]
        assert run.client.balance().unconfirmed == before.unconfirmed + 7000 - parent.sent


async def test_it_is_so_when_a_block_has_what_it_spends_of(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Which nobody had announced before; the child waits on."""
    talkers, tx = crowd(world, chain, 1), chain.spend_watched()
    child = spending(tx, 7000)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        take(run, child)
        await mine(talkers, chain, 1, tx)
        await has_told(run, TransactionSeen, 2)
        assert tx.txid in {event.txid for event in told(run, TransactionFound)}
        assert [(seen.txid, seen.received, seen.sent) for seen in run.client.unconfirmed()] == [
            (child.txid, 7000, tx.outputs[1].value)
        ]


async def test_what_is_watched_no_more_is_left_out(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Of a transaction that concerns something else as well, which then concerns only that."""
    crowd(world, chain, 1)
    tx = chain.spend_watched()
    gone = tx.outputs[1].script
    kept = next(script for item in chain.watch if (script := watch_script(item, chain.network)) != gone)
    both = attrs.evolve(made_up(tx, 1), outputs=(TxOut(5000, gone), TxOut(6000, kept)))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        take(run, both)
        await run.client.unwatch([gone])
        run.client._unconfirmed.sweep()
        (seen,) = run.client.unconfirmed()
        assert (seen.changes, seen.received) == (((kept, 6000),), 6000)


async def test_of_rivals_one_counts(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """That which was seen first, as long as no lock tells more; both are shown."""
    crowd(world, chain, 1)
    tx = chain.spend_watched()
    rival = attrs.evolve(tx, outputs=(TxOut(3000, tx.outputs[1].script),))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        take(run, tx, rival)
        first, second = run.client.unconfirmed()
        assert (first.txid, second.txid) == (tx.txid, rival.txid)
        assert run.client.balance().unconfirmed == first.received - first.sent != second.received - second.sent


async def test_what_is_mined_is_never_in_both_balances(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also before it was let go, as between a commit and its receipt."""
    talkers, tx = crowd(world, chain, 1), chain.spend_watched()
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        take(run, tx)
        assert run.client.balance().unconfirmed != 0
        monkeypatch.setattr(run.client._unconfirmed, "sweep", lambda _found: None)
        await mine(talkers, chain, 1, tx)
        await mined(run, tx)
        assert held(run) == [tx.txid]
        assert run.client.balance().unconfirmed == 0


async def test_one_look_at_the_store_tells_of_all(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are kept: what is let go and what stays is of one committed state."""
    crowd(world, chain, 1)
    tx = chain.spend_watched()
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        take(run, *[made_up(tx, number) for number in range(20)])
        count, snapshot = Counter[str](), Database.snapshot

        def counted(database: Database) -> Any:
            count["taken"] += 1
            return snapshot(database)

        monkeypatch.setattr(Database, "snapshot", counted)
        run.client._unconfirmed.sweep()
        assert (len(held(run)), count["taken"]) == (20, 1)


async def test_what_a_disk_kept_from_being_looked_at_is_looked_at_later(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whoever broadcasts it is not told of a failure: it is on its way."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced")

        def refuse(*_: object) -> Any:
            raise StoreFailed("the disk refuses")

        with monkeypatch.context() as patched:
            patched.setattr(run.client.store, "rival", refuse)
            await run.client.broadcast(tx.to_bytes())
            assert held(run) == []
        take(run, tx)
        assert held(run) == [tx.txid]
        assert [asked(talker, tx.txid) for talker in talkers] == [0, 0]


async def test_what_is_kept_is_not_fetched_again(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many others were looked at since."""
    monkeypatch.setattr(unconfirmed, "KNOWN", 1)
    (talker,), tx = crowd(world, chain, 1), chain.spend_watched()
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        talker.pool.add(tx)
        await has_told(run, TransactionSeen)
        take(run, made_up(tx, 1), made_up(tx, 2))
        await talker.say(Inv((InvItem(InvType.TX, tx.txid),)))
        await trio.sleep(30)
        assert asked(talker, tx.txid) == 1
        assert held(run).count(tx.txid) == 1


async def test_a_restart_knows_what_is_still_being_broadcast(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """From the start, with its balance and the time at which it was first seen; what spends of it is valued by it."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    child = spending(tx, 7000)
    config = world.config(1, 2, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes())
        await run.client.broadcast(child.to_bytes())
        before, balance = run.client.unconfirmed(), run.client.balance()
        assert [seen.sent > 0 for seen in before] == [True, True]
        await trio.sleep(100)
    async with running(config) as run:
        assert [attrs.evolve(seen, time=0.0) for seen in run.client.unconfirmed()] == [
            attrs.evolve(seen, time=0.0) for seen in before
        ]
        assert all(abs(now.time - then.time) < 1 for now, then in zip(run.client.unconfirmed(), before, strict=True))
        assert run.client.balance() == balance
        await run.until("synced")
        await mine(talkers, chain, 1, tx)
        await mined(run, tx)
        assert held(run) == [child.txid]
        assert told(run, TransactionDropped) == []
    async with running(config) as run:
        assert held(run) == [child.txid]


async def test_our_own_is_unconfirmed_again_when_its_block_leaves_the_chain(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Nobody needs to announce it."""
    talkers, tx = crowd(world, chain, 1), chain.spend_watched()
    async with running(world.config(1, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), timeout=1.0)
        assert held(run) == [tx.txid]
        await mine(talkers, chain, 1, tx)
        await mined(run, tx)
        assert held(run) == []
        await talkers[0].switch(generate(264, 7, fork_at=258, fork_seed=3))
        with trio.fail_after(300):
            while not held(run):
                await trio.sleep(0.1)
        assert held(run) == [tx.txid]
        assert run.client.balance().unconfirmed < 0
