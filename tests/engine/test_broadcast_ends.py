"""What becomes of a transaction that was broadcast: locked, mined, reorganised, defeated, given up."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.broadcast_keeping import Keeping
from phasegate.engine.broadcast_stages import Stage
from phasegate.engine.broadcasts import DEEP, KEPT
from phasegate.engine.client import ClientFailed
from phasegate.engine.errors import leaves
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import BroadcastRow, PutBroadcast, Store, StoreFailed
from tests.broadcast_crowds import crowd, mine, reached, rival_of, stages
from tests.simulated_world import START

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


@pytest.fixture
def chain() -> GeneratedChain:
    """A chain that a test may extend."""
    return generate(40, "broadcasts", locks=False)


@pytest.mark.parametrize("watching", ["nothing", "others", "its own"])
async def test_it_is_seen_in_its_block(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, watching: str
) -> None:
    """Watched or not; then it is let go when the block is deep enough, and nothing of it enters what is watched."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    watch = {"nothing": (), "others": ("76a914" + "05" * 20 + "88ac",), "its own": chain.watch}[watching]
    async with running(world.config(1, 2, watch=watch)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes())
        await mine(talkers, chain, 1, tx)
        status = await reached(run, tx, Stage.MINED)
        assert status.height == 41
        found = {found.txid for found in run.client.transactions()}
        assert (tx.txid in found) == (watching == "its own")
        await trio.sleep(1000)
        assert max(talker.announced(tx.txid) for talker in talkers) == 1, "mined ones are told no more"
        await mine(talkers, chain, DEEP - 1)
        with trio.fail_after(60):
            while run.client.broadcasting.statuses():
                await trio.sleep(0.5)
        await trio.sleep(2)
        assert run.client.store.broadcasts() == []
        assert run.client.broadcasting.status(tx.txid) == status
        assert run.client.store.pending(10) == []
        digest = run.client.store.digest()
    async with running(attrs.evolve(run.client.config, datadir=world.directory / "fresh")) as other:
        await other.until("synced")
        assert other.client.store.digest() == digest


async def test_a_chainlock_ends_it_as_depth_does(world: World, running: Start, autojump_clock: MockClock) -> None:
    """What a ChainLock covers cannot be undone, so it is let go at once."""
    chain = generate(220, "broadcast locks")
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes())
        await mine(talkers, chain, 1, tx)
        with trio.fail_after(120):
            while run.client.broadcasting.statuses():
                await trio.sleep(0.5)
        status = run.client.broadcasting.status(tx.txid)
        assert status is not None
        assert (status.stage, status.height) == (Stage.MINED, 221)


async def test_a_lock_of_it_and_a_lock_of_a_rival(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Its own InstantSend lock confirms it, that of another transaction of the same coin ends it, with the reason."""
    chain = generate(220, "broadcast locks")
    talkers = crowd(world, chain, 2)
    one, two = chain.spend_watched(), chain.spend_watched()
    rival = rival_of(two)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(one.to_bytes())
        await talkers[0].offer([chain.lock_transaction(one)])
        assert (await run.client.broadcast(one.to_bytes(), until=Stage.LOCKED, timeout=60)).stage is Stage.LOCKED
        await run.client.broadcast(two.to_bytes())
        await talkers[0].offer([chain.lock_transaction(rival)])
        status = await run.client.broadcast(two.to_bytes(), until=Stage.MINED, timeout=60)
        assert status.stage is Stage.CONFLICTED
        assert status.reason == f"a coin it spends is locked for {rival.txid[::-1].hex()}"
        await trio.sleep(3)
        assert [row.txid for row in run.client.store.broadcasts()] == [one.txid]


async def test_a_rival_in_a_block_ends_it(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Though the two pay to different strangers: the script of the coin that both spend stands in the filter."""
    talkers, spend = crowd(world, chain, 2), chain.spend_watched()
    tx = attrs.evolve(spend, outputs=spend.outputs[:1])
    rival = rival_of(tx)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes())
        await mine(talkers, chain, 1, rival)
        status = await run.client.broadcast(tx.to_bytes(), until=Stage.MINED, timeout=60)
        assert status.stage is Stage.CONFLICTED
        assert status.reason == f"block 41 has {rival.txid[::-1].hex()}, which spends the same coin"
        assert status.height is None


async def test_a_reorganisation_has_it_announced_and_mined_again(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Out of the chain it is not forgotten."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    other = chain.branch("elsewhere")
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes())
        await mine(talkers, chain, 1, tx)
        await reached(run, tx, Stage.MINED)
        before = sum(talker.announced(tx.txid) for talker in talkers)
        other.extend(3)
        for talker in talkers:
            await talker.switch(other)
        await reached(run, tx, Stage.ECHOED)
        await trio.sleep(5)
        assert sum(talker.announced(tx.txid) for talker in talkers) > before
        (row,) = run.client.store.broadcasts()
        assert row.state == ""
        await mine(talkers, other, 1, tx)
        assert (await reached(run, tx, Stage.MINED)).height == 44


async def test_a_restart_goes_on_where_it_was(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """Not mined yet: announced again. Mined while nobody looked: found. Mined and stored: not announced any more."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    config = world.config(1, 2)
    async with running(config) as run:
        await run.client.broadcast(tx.to_bytes(), until=Stage.FETCHED)
    before = sum(talker.announced(tx.txid) for talker in talkers)
    async with running(config) as run:
        await run.until("synced")
        await trio.sleep(5)
        assert sum(talker.announced(tx.txid) for talker in talkers) > before
    await mine(talkers, chain, 1, tx)
    async with running(config) as run:
        assert (await reached(run, tx, Stage.MINED)).height == 41
    before = sum(talker.announced(tx.txid) for talker in talkers)
    async with running(config) as run:
        await run.until("synced")
        await trio.sleep(60)
        (status,) = run.client.broadcasting.statuses()
        assert (status.stage, status.height) == (Stage.MINED, 41)
        assert sum(talker.announced(tx.txid) for talker in talkers) == before


@pytest.mark.parametrize("watching", [False, True])
async def test_one_that_is_mined_already_is_found_in_a_stored_block(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, watching: bool
) -> None:
    """Given after its block was stored, searched or not."""
    talkers, tx = crowd(world, chain, 2), chain.spend_watched()
    chain.extend(1, include=(tx,))
    chain.extend(2)
    change = tx.outputs[0].script.hex()
    async with running(world.config(1, 2, watch=(change,) if watching else ())) as run:
        await run.until("synced")
        if watching:
            await run.client.unwatch([bytes.fromhex(change)])
            await run.until("synced")
        status = await run.client.broadcast(tx.to_bytes(), until=Stage.MINED)
        assert (status.stage, status.height) == (Stage.MINED, 41)
        await run.until("synced")
        assert all(talker.peers for talker in talkers)


async def test_unwatching_everything_does_not_hide_its_block(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """With the last watch item go the blocks that were to be searched; for what is broadcast they are found anew."""
    talkers, tx = crowd(world, chain, 1), chain.spend_watched()
    script = bytes.fromhex("76a914" + "05" * 20 + "88ac")
    async with running(world.config(1, watch=(script.hex(),))) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), until=Stage.FETCHED)
        talkers[0].delay = 5.0
        await mine(talkers, chain, 1, tx)
        await run.until("blocks")
        assert run.client.store.pending(10) == [41]
        await run.client.unwatch([script])
        assert run.client.store.pending(10) == []
        assert (await reached(run, tx, Stage.MINED)).height == 41


async def test_after_two_weeks_it_is_given_up(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """With a reason, and it is forgotten."""
    crowd(world, chain, 1)
    tx, config = chain.spend_watched(), world.config(1)
    async with running(config) as run:
        row = BroadcastRow(tx.txid, tx.to_bytes(), START - KEPT + 600.0, 0.0, "a word of a later version")
        run.client.store.commit([PutBroadcast(row)])
    async with running(config) as run:
        await reached(run, tx, Stage.FETCHED)
        status = await reached(run, tx, Stage.EXPIRED)
        assert status.reason == "not mined within 14 days"
        await trio.sleep(2)
        assert run.client.store.broadcasts() == []
    assert stages(run)[-1] == "expired"


async def test_that_it_is_mined_is_stored_with_the_block(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the two would hide it for ever: a block is searched once."""
    talkers, tx = crowd(world, chain, 1), chain.spend_watched()

    async def lost(_: Keeping) -> None:
        await trio.lowlevel.checkpoint()

    async with running(world.config(1)) as run:
        await run.until("synced")
        await run.client.broadcast(tx.to_bytes(), until=Stage.FETCHED)
        monkeypatch.setattr(Keeping, "save", lost)
        await mine(talkers, chain, 1, tx)
        await reached(run, tx, Stage.MINED)
        (row,) = run.client.store.broadcasts()
        assert row.state == f"41 {chain.hash_at(41)[::-1].hex()}"


async def test_a_block_that_left_the_chain_between_two_runs_counts_no_more(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """What a row says is held against the stored chain, so a lost roll-back leaves no transaction behind."""
    crowd(world, chain, 1)
    tx, other = chain.spend_watched(), chain.spend_watched()
    async with running(world.config(1)) as run:
        await run.until("synced")
        states = {tx: f"40 {bytes(32).hex()}", other: f"40 {chain.hash_at(40)[::-1].hex()}"}
        rows = [BroadcastRow(one.txid, one.to_bytes(), START, 0.0, state) for one, state in states.items()]
        run.client.store.commit([PutBroadcast(row) for row in rows])
    async with running(world.config(1)) as run:
        assert (await reached(run, tx, Stage.FETCHED)).height is None
        assert (await reached(run, other, Stage.MINED)).height == 40


@pytest.mark.parametrize("reading", ["filters", "instantlock"])
async def test_a_disk_that_refuses_beside_the_phases_is_asked_again(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    chain: GeneratedChain,
    monkeypatch: pytest.MonkeyPatch,
    reading: str,
) -> None:
    """Neither the search of stored blocks nor the look for locks ends the client, and both come to their end."""
    crowd(world, chain, 2)
    tx, true, refused = chain.spend_watched(), getattr(Store, reading), [0]
    chain.extend(1, include=(tx,))

    def refuse(store: Store, *arguments: Any) -> Any:
        refused[0] += 1
        if refused[0] <= 2:
            raise StoreFailed("disk I/O error")
        return true(store, *arguments)

    async with running(attrs.evolve(world.config(1, 2), check_facts=False)) as run:
        await run.until("synced")
        monkeypatch.setattr(Store, reading, refuse)
        status = await run.client.broadcast(tx.to_bytes(), until=Stage.MINED, timeout=60.0)
        assert (status.stage, status.height) == (Stage.MINED, 41)
        await trio.sleep(5)
        assert refused[0] > 2
        assert set(run.path[6:]) <= {"headers", "mnlist", "cfheaders", "filters", "blocks", "synced"}


async def test_damage_met_beside_the_phases_is_repaired(
    world: World, running: Start, autojump_clock: MockClock, chain: GeneratedChain
) -> None:
    """A filter that is damaged on the disk while it is searched: the error says what was done, the next run goes on."""
    crowd(world, chain, 2)
    tx, config = chain.spend_watched(), attrs.evolve(world.config(1, 2), check_facts=False)
    damage = "UPDATE tail SET data = cast(x'ff' || substr(data, 2) AS BLOB) WHERE series = 4 AND height = 20"

    async def damage_and_search() -> None:
        async with running(config) as run:
            await run.until("synced")
            with closing(sqlite3.connect(config.datadir / "simnet.sqlite")) as other, other:
                assert other.execute(damage).rowcount == 1
            await run.client.broadcast(tx.to_bytes(), until=Stage.MINED, timeout=60.0)

    with pytest.raises(ExceptionGroup) as caught:
        await damage_and_search()
    failed = [error for error in leaves(caught.value) if type(error) is ClientFailed]
    assert len(failed) == 1
    assert str(failed[0]).endswith("start again")
    async with running(config) as run:
        await run.until("synced")
        await trio.sleep(30)
        assert run.client.state == "synced"
