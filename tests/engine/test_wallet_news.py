"""Found transactions that leave the chain, come back, or stand against a lock: told, once, with what they were."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, TypeVar

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.events import (
    Event,
    InstantLocked,
    Rewound,
    TransactionConflicted,
    TransactionFound,
    TransactionLost,
    TransactionReturned,
)
from phasegate.engine.wallet_news import WalletNews
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from tests.lock_tampering import Offering, instantlocks, relocked

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio
E = TypeVar("E", bound=Event)

FORK = 280


@cache
def ours(blocks: int) -> GeneratedChain:
    """Pays and spends watched coins above the fork."""
    return generate(blocks, 2)


@cache
def theirs() -> GeneratedChain:
    """Without these payments, and heavier than 290 blocks of `ours`."""
    return generate(295, 2, fork_at=FORK, fork_seed=3)


async def synced_with(run: Run, chain: GeneratedChain) -> None:
    with trio.fail_after(300.0):
        while run.client.status.marks.tip_hash != chain.tip_hash or run.client.state != "synced":
            await trio.sleep(0.1)
        while run.client.pending_locks:
            await trio.sleep(0.1)


def told(run: Run, kind: type[E]) -> list[E]:
    return [event for event in run.told if isinstance(event, kind)]


async def test_a_reorganisation_tells_what_it_took_and_what_came_back(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Each with the height of the block that left; on the way back each is told once, with both heights."""
    before, after = ours(290), ours(305)
    node, config = world.add(Offering(before, []), 1), world.config(1, watch=before.watch)
    async with running(config) as run:
        await synced_with(run, before)
        above = {tx.txid: tx for tx in run.client.transactions() if tx.height > FORK}
        assert len(above) == 2
        assert [*told(run, TransactionLost), *told(run, TransactionReturned)] == []

        await node.switch(Offering(theirs(), []))
        await synced_with(run, theirs())
        gone = told(run, TransactionLost)
        assert {event.txid: (event.height, event.scripts, event.received, event.sent) for event in gone} == {
            tx.txid: (tx.height, tx.scripts, tx.received, tx.sent) for tx in above.values()
        }
        assert run.told.index(told(run, Rewound)[0]) < run.told.index(gone[0])
        records = run.client.lost_transactions()
        assert [(record.row_id, record.txid) for record in records] == [(event.row_id, event.txid) for event in gone]
        assert all(record.block_hash == before.hash_at(record.height) for record in records)
        away = {tx.txid for tx in run.client.transactions()}
        assert {record.txid for record in records if record.returned is None} == above.keys() - away

        await node.switch(Offering(after, []))
        await synced_with(run, after)
        back = told(run, TransactionReturned)
        assert {event.txid: (event.old_height, event.height) for event in back} == {
            txid: (tx.height, tx.height) for txid, tx in above.items()
        }
        assert len(back) == len(above)
        found = [event.txid for event in told(run, TransactionFound)]
        assert all(found.count(txid) == 2 for txid in above)
        assert all(record.returned is not None for record in run.client.lost_transactions() if record.txid in above)

        await run.client.unwatch(config.watch)
        await run.client.watch(config.watch)
        await trio.sleep(5.0)
        await synced_with(run, after)
        found = [event.txid for event in told(run, TransactionFound)]
        assert all(found.count(txid) == 3 for txid in above)
        assert len(told(run, TransactionReturned)) == len(above)


async def test_who_was_away_meanwhile_is_told_of_a_return_as_well(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What one run lost and the next finds again is told by the next."""
    before, after = ours(290), ours(305)
    node = world.add(Offering(before, []), 1)
    async with running(world.config(1, watch=before.watch)) as run:
        await synced_with(run, before)
        await node.switch(Offering(theirs(), []))
        await synced_with(run, theirs())
        missing = {record.txid for record in run.client.lost_transactions() if record.returned is None}
    assert missing
    world.add(Offering(after, []), 1)
    async with running(world.config(1)) as run:
        await synced_with(run, after)
        assert {event.txid for event in told(run, TransactionReturned)} >= missing
        assert all(record.returned is not None for record in run.client.lost_transactions() if record.txid in missing)


async def test_a_loss_is_told_before_what_is_found_again(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if it is not told when it is stored: the transaction is told as lost, found and returned, in this order."""
    before, after = ours(290), ours(305)
    node, config = world.add(Offering(before, []), 1), world.config(1, watch=before.watch)
    async with running(config) as run:
        await synced_with(run, before)
        told_before = len(run.told)
        monkeypatch.setattr(WalletNews, "rewound", lambda _news: None)
        await node.switch(Offering(theirs(), []))
        await synced_with(run, theirs())
        await node.switch(Offering(after, []))
        await synced_with(run, after)
        kinds = TransactionLost, TransactionFound, TransactionReturned
        again = [event for event in run.told[told_before:] if isinstance(event, kinds)]
        back = [event.txid for event in again if isinstance(event, TransactionReturned)]
        assert len(back) == 2
        for txid in back:
            assert [type(event) for event in again if event.txid == txid] == list(kinds)


async def test_a_lock_of_another_transaction_is_told_as_a_conflict(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Whether the lock comes before the transaction is found or after; the rival is named."""
    chain, rival = ours(290), bytes(31) + b"\1"
    true = instantlocks(chain)[-1]
    node = world.add(Offering(chain, []), 1)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await synced_with(run, chain)
        assert told(run, TransactionConflicted) == []
        node.chain = offered = Offering(chain, [relocked(chain, true, rival)])
        await node.offer(offered.locks())
        with trio.fail_after(30.0):
            while not told(run, TransactionConflicted):
                await trio.sleep(0.1)
        await synced_with(run, chain)
        assert [(event.txid, event.conflict) for event in told(run, TransactionConflicted)] == [(true.txid, rival)]
        assert told(run, InstantLocked) == []
        (tx,) = [tx for tx in run.client.transactions() if tx.txid == true.txid]
        assert (tx.instantlock, tx.conflict) == (False, rival)

        await run.client.unwatch(config.watch)
        await run.client.watch(config.watch)
        await trio.sleep(5.0)
        await synced_with(run, chain)
        assert [(event.txid, event.conflict) for event in told(run, TransactionConflicted)] == 2 * [(true.txid, rival)]


async def test_a_lost_transaction_can_be_contradicted_too(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What it spent is locked for another one while it is in no block: it will not come back."""
    before, after = ours(290), theirs()
    rivals = [lock for lock in instantlocks(before) if lock.txid not in set(after.instantlocks.txids)]
    node = world.add(Offering(before, []), 1)
    async with running(world.config(1, watch=before.watch)) as run:
        await synced_with(run, before)
        await node.switch(Offering(after, []))
        await synced_with(run, after)
        missing = {record.txid: record for record in run.client.lost_transactions() if record.returned is None}
        (lock, *_) = [lock for lock in rivals if lock.txid in missing]
        run.client._wallet_news.locked(relocked(before, lock, bytes(32)))
        await run.settled()
        assert [(event.txid, event.conflict) for event in told(run, TransactionConflicted)] == [(lock.txid, bytes(32))]


async def test_what_was_forgotten_is_no_news_any_more(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A lock of what was found, or a rival of what was lost, is none of the wallet's if nothing of it is watched."""
    before, after = ours(290), theirs()
    gone = [lock for lock in instantlocks(before) if lock.txid not in set(after.instantlocks.txids)]
    node = world.add(Offering(before, []), 1)
    config = world.config(1, watch=before.watch)
    async with running(config) as run:
        await synced_with(run, before)
        found = {tx.txid for tx in run.client.transactions()}
        await node.switch(Offering(after, []))
        await synced_with(run, after)
        missing = {record.txid for record in run.client.lost_transactions() if record.returned is None}
        (lost, *_) = [lock for lock in gone if lock.txid in missing]
        (kept, *_) = [lock for lock in instantlocks(after) if lock.txid in found - missing]
        await run.client.unwatch(config.watch)
        run.client._lock_news._verified(kept)
        run.client._lock_news._verified(lost)
        run.client._wallet_news.locked(relocked(before, lost, bytes(32)))
        await run.settled()
        assert [*told(run, InstantLocked), *told(run, TransactionConflicted)] == []


async def test_what_was_forgotten_does_not_return(world: World, running: Start, autojump_clock: MockClock) -> None:
    """It is found as anything else is, by who watches it anew."""
    before, after = ours(290), ours(305)
    node, config = world.add(Offering(before, []), 1), world.config(1, watch=before.watch)
    async with running(config) as run:
        await synced_with(run, before)
        await node.switch(Offering(theirs(), []))
        await synced_with(run, theirs())
        missing = {record.txid for record in run.client.lost_transactions() if record.returned is None}
        assert missing
        await run.client.unwatch(config.watch)
        await run.client.watch(config.watch)
        await node.switch(Offering(after, []))
        await synced_with(run, after)
        assert missing <= {tx.txid for tx in run.client.transactions()}
        assert {event.txid for event in told(run, TransactionReturned)}.isdisjoint(missing)
