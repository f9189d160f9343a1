"""What went wrong in the field with locks; the number of each failure stands in its test's name."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.lock_fetch import LOOK_EVERY
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from tests.lock_tampering import Lock, Offering, chainlocks, flipped, instantlocks, message

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

FORK = 280


@cache
def ours(blocks: int) -> GeneratedChain:
    """Spends a watched coin at 284 in a locked payment, at a time when no block is ChainLocked."""
    return generate(blocks, 2)


@cache
def theirs() -> GeneratedChain:
    """Without that payment, and heavier than 290 blocks of `ours`."""
    return generate(295, 2, fork_at=FORK, fork_seed=3)


async def synced_with(run: Run, chain: GeneratedChain) -> None:
    """Wait until the client has the tip of `chain` and every lock has its answer."""
    with trio.fail_after(300.0):
        while run.client.status.marks.tip_hash != chain.tip_hash or run.client.state != "synced":
            await trio.sleep(0.1)
        while run.client.pending_locks:
            await trio.sleep(0.1)


def marked(run: Run) -> dict[bytes, bool | None]:
    """Of each found transaction whether it is locked."""
    return {found.txid: found.instantlock for found in run.client.transactions()}


async def test_35_a_spend_in_a_block_that_is_reorganised_away_hides_no_coin(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The coin is there again and the lock is gone with its branch; when the branch wins after all, both are back."""
    before, after = ours(290), ours(305)
    node = world.add(Offering(before, instantlocks(before)), 1)
    async with running(world.config(1, watch=before.watch)) as run:
        await synced_with(run, before)
        store, locked = run.client.store, marked(run)
        (spend,) = [tx for tx in run.client.transactions() if tx.height == 284 and tx.sent and tx.instantlock]
        lock = store.instantlock(spend.txid)
        assert lock is not None
        assert not store.coins().keys() & set(lock.inputs)

        await node.switch(Offering(theirs(), []))
        await synced_with(run, theirs())
        assert spend.txid not in marked(run)
        assert store.coins().keys() & set(lock.inputs)
        shared = {txid: known for txid, known in locked.items() if txid in marked(run)}
        assert len(shared) > 10
        assert shared == {txid: marked(run)[txid] for txid in shared}

        await node.switch(Offering(after, []))
        await synced_with(run, after)
        assert locked == {txid: marked(run)[txid] for txid in locked}  # nobody announced the lock a second time
        assert not store.coins().keys() & set(lock.inputs)


async def test_43_locks_that_come_before_the_sync_ban_nobody(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """They wait for headers, lists and verdicts, are believed by nobody meanwhile, and are verified then."""
    chain = ours(290)
    best = chainlocks(chain)[-1]
    offered: list[Lock] = [*chainlocks(chain)[-20:], *instantlocks(chain)]
    world.add(Offering(chain, offered), 1, delay=1.0)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("mnlist")
        with trio.fail_after(30.0):
            while run.client.pending_locks < len(offered):
                await trio.sleep(0.05)
        assert run.client.chainlock is None
        await synced_with(run, chain)
        assert run.client.chainlock == (best.height, best.block_hash)
        assert run.client.locks.instantlocks == len(instantlocks(chain))
        assert run.warnings == []


async def test_43_what_cannot_be_judged_is_neither_believed_nor_called_false(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A false lock only waits while the quorums are unknown; then it bans its sender, and the true one holds."""
    chain = ours(290)
    true = chainlocks(chain)[-1]
    world.add(Offering(chain, [flipped(true, 9)]), 1, delay=1.0)
    world.add(Offering(chain, [true]), 2, delay=1.0)
    async with running(world.config(1, 2)) as run:
        await run.until("mnlist")
        assert len(run.client.peers) == 2
        assert run.client.locks.false == 0
        await run.until_warned("bad-chainlock")
        await synced_with(run, chain)
        assert run.client.chainlock == (true.height, true.block_hash)


async def test_43_the_queue_is_looked_at_again_without_a_new_block(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A lock of long ago makes a synced client fetch the quorums it needs, and has its answer seconds later."""
    chain = ours(290)
    world.add(chain, 1, locks=False)
    async with running(world.config(1, watch=chain.watch)) as run:
        await synced_with(run, chain)
        tip, walks = run.client.status.marks.tip_hash, run.path.count("mnlist")
        (peer,) = run.client.peers
        old = instantlocks(chain)[0]
        run.client._work.locks.pushed(peer, message(old))
        with trio.fail_after(3 * LOOK_EVERY):
            while run.client.store.instantlock(old.txid) is None:
                await trio.sleep(0.1)
        assert run.client.status.marks.tip_hash == tip
        assert run.path.count("mnlist") == walks + 1
        await synced_with(run, chain)
        assert run.client._work.live.wanted_sets == set()


async def test_43_locks_are_verified_long_after_the_sync(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The quorums of today are known today: cycles later, each new ChainLock and payment is verified at once."""
    chain = generate(100, 6)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await synced_with(run, chain)
        for _ in range(30):
            chain.extend(6)
            await node.announce(6)
            await synced_with(run, chain)
            best = chainlocks(chain)[-1]
            assert run.client.chainlock == (best.height, best.block_hash)
        assert run.client.locks.instantlocks == len(instantlocks(chain))
        assert run.warnings == []
