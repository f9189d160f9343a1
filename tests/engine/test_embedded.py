"""A client as a part of somebody's program: in their nursery, beside another one, cancelled wherever it stands."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.params import network
from phasegate.engine.attending import ClientFailed
from phasegate.engine.client import Client, open_client
from phasegate.engine.errors import ConfigError
from phasegate.engine.following import Seen
from phasegate.engine.opening import open_store
from phasegate.engine.seams import inline_seams
from phasegate.p2p.addresses import Address
from phasegate.p2p.simnet.generated import generate
from tests.lock_tampering import chainlocks
from tests.simulated_world import START, attended, small_chain

if TYPE_CHECKING:
    from phasegate.engine.config import Config
    from phasegate.engine.events import Event
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio
REGTEST = network("regtest", dict.fromkeys(("dip3", "dip8", "dip24", "dip24_quorums", "v19", "v20", "mn_rr"), 2))

SMALL = {"batch": {"filters": 25, "blocks": 1}}


def client_of(world: World, config: Config) -> Client:
    """A client of this world."""
    return Client(config, inline_seams(1, world.open_stream, lambda: START + trio.current_time()))


async def test_it_runs_in_the_nursery_of_its_user(world: World, autojump_clock: MockClock) -> None:
    """`nursery.start` returns it running; when the nursery is cancelled its store is closed, and opens again."""
    world.add(small_chain(), 1)
    async with trio.open_nursery() as nursery:
        client: Client = await nursery.start(client_of(world, world.config(1)).run)
        await client.wait_synced()
        nursery.cancel_scope.cancel()
    store, told = open_store(client.config.datadir, client.network)
    with closing(store):
        assert (store.marks.tip, told) == (300, "")
    await client.wait_synced()  # it was


async def test_what_it_learnt_of_peers_outlives_its_cancellation(world: World, autojump_clock: MockClock) -> None:
    """It is stored at intervals, and what is not stored yet on the way out."""
    told = Address("127.0.0.1", 9)
    world.add(small_chain(), 1)
    async with trio.open_nursery() as nursery:
        client: Client = await nursery.start(client_of(world, world.config(1)).run)
        await client.wait_synced()
        client._pool.memory.learn([(told, 0)], "127.0.0.1")
        assert told.port not in [row.port for row in client.store.peers()]
        nursery.cancel_scope.cancel()
    store, _ = open_store(client.config.datadir, client.network)
    with closing(store):
        assert told.port in [row.port for row in store.peers()]


async def test_who_waits_in_vain_is_told(world: World, autojump_clock: MockClock) -> None:
    """The client ended before it was synced."""
    client = client_of(world, world.config(1))
    async with attended(client, []):
        pass
    with pytest.raises(ClientFailed, match="the client ended in state"):
        await client.wait_synced()


async def test_two_clients_in_one_program(world: World, autojump_clock: MockClock) -> None:
    """Of two networks, each with its own directory, at the same time: each has its own chain and nothing else."""
    chains = small_chain(), generate(200, 5, network=REGTEST)
    configs = []
    for port, chain in enumerate(chains, 1):
        world.add(chain, port)
        config = world.config(port, network=chain.network, watch=chain.watch)
        configs.append(attrs.evolve(config, datadir=world.directory / chain.network.name))
    told: tuple[list[Event], list[Event]] = ([], [])
    clients = [client_of(world, config) for config in configs]
    async with attended(clients[0], told[0]), attended(clients[1], told[1]):
        for client in clients:
            await client.wait_synced()
        for client, chain in zip(clients, chains, strict=True):
            assert client.status.marks.tip_hash == chain.tip_hash
            assert {s.hex(): v for s, v in client.balances().items()} == chain.expected["balances"]
            assert (await client.get_block(100)).raw == chain.block(100)
        await clients[0].pause()
        await clients[1].rescan()
        await clients[1].wait_synced()
    assert all(len([event for event in events if event]) > 6 for events in told)


async def test_it_waits_until_the_tip_is_locked(world: World, autojump_clock: MockClock) -> None:
    """Synced is not enough: the ChainLock of the very tip has to be verified; without masternodes there is none."""
    chain = generate(200, 7)
    while chainlocks(chain)[-1].height == chain.height:
        chain.extend(1)
    node = world.add(chain, 1)
    client = client_of(world, world.config(1))
    async with attended(client, []):
        await client.wait_synced()
        with trio.move_on_after(30) as waiting:
            await client.wait_synced(confirmed=True)
        assert waiting.cancelled_caught
        async with trio.open_nursery() as nursery:

            async def grow() -> None:
                while chainlocks(chain)[-1].height != chain.height:
                    chain.extend(1)
                    await node.announce(1)

            nursery.start_soon(grow)
            with trio.fail_after(60):
                await client.wait_synced(confirmed=True)
        assert client.chainlock == (client.status.marks.tip, chain.tip_hash)
    unlocked = client_of(world, attrs.evolve(world.config(1), masternodes=False))
    async with attended(unlocked, []):
        await unlocked.wait_synced()
        with pytest.raises(ConfigError, match="confirmed: without masternode lists no ChainLock can be verified"):
            await unlocked.wait_synced(confirmed=True)


class Counting(trio.abc.Instrument):
    """Counts the steps of tasks, and cancels a scope before one of them: each step ends in a checkpoint."""

    def __init__(self, at: int, scope: trio.CancelScope) -> None:
        self.at = at
        self.steps = 0
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One more step."""
        self.steps += 1
        if self.steps == self.at:
            self._scope.cancel()


async def synced_unless_cancelled(world: World, config: Config, at: int) -> Counting:
    """A whole run of a client and of who uses it, which is cancelled at its `at`-th step."""
    with trio.CancelScope() as scope:
        counting = Counting(at, scope)
        trio.lowlevel.add_instrument(counting)
        try:
            opening = open_client(config, inline_seams(1, world.open_stream, lambda: START))
            async with opening as client, trio.open_nursery() as nursery:
                nursery.start_soon(follow, client)
                await client.wait_synced()
                await client.get_block(7)
                nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(counting)
    return counting


async def follow(client: Client) -> None:
    """Read everything from the first row on."""
    seen = Seen()
    following = client.events(after=seen)
    async for _ in following:
        seen = following.seen


async def test_a_client_that_is_cancelled_at_any_checkpoint_loses_nothing(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Again and again, later each time: it goes on from a whole store, and ends as a run that was left alone."""
    chain = small_chain(60, 5)
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch, limits=SMALL)
    async with running(attrs.evolve(config, datadir=world.directory / "undisturbed")) as run:
        await run.until("synced")
        expected = run.client.store.digest()
    lives, at, reached = 0, 1, -1
    while True:
        counting = await synced_unless_cancelled(world, config, at)
        if counting.steps < counting.at:
            break
        store, told = open_store(config.datadir, config.network)
        with closing(store):
            assert (told, store.check()) == ("", ())
            assert store.marks.tip >= reached
            reached = store.marks.tip
        lives, at = lives + 1, at + 5 + at // 25
    assert lives > 40
    async with running(config) as run:
        await run.until("synced")
        assert run.client.store.digest() == expected
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]


@pytest.mark.parametrize(("stride", "strategy"), [(131, "sequential"), (311, "interleaved")])
async def test_a_first_sync_that_is_cancelled_once_ends_as_one_that_was_not(
    world: World, running: Start, autojump_clock: MockClock, stride: int, strategy: str
) -> None:
    """At many places of one whole sync, each in a directory of its own, and the next run finishes it."""
    chain = small_chain(60, 5)
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch, strategy=strategy, limits=SMALL)
    undisturbed = attrs.evolve(config, datadir=world.directory / "undisturbed")
    whole = await synced_unless_cancelled(world, undisturbed, 0)
    store, _ = open_store(undisturbed.datadir, undisturbed.network)
    with closing(store):
        expected = store.digest()
    for at in range(stride, whole.steps, stride):
        here = attrs.evolve(config, datadir=world.directory / str(at))
        await synced_unless_cancelled(world, here, at)
        await synced_unless_cancelled(world, here, 0)
        store, told = open_store(here.datadir, here.network)
        with closing(store):
            assert (store.digest(), told, store.check()) == (expected, "", ())
