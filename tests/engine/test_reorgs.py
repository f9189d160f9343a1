"""A better branch that appears while a phase is at work: nothing of the old branch stays, and nobody is banned."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.p2p.simnet.generated import GeneratedChain, generate
from tests.fresh_twins import stored_by_fresh

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

PHASES = ("headers", "mnlist", "cfheaders", "filters", "blocks")


@cache
def ours() -> GeneratedChain:
    """No ChainLock binds anybody to it."""
    return generate(200, 5, locks=False)


@cache
def theirs() -> GeneratedChain:
    """Leaves `ours` above 150 and is longer."""
    return generate(230, 5, fork_at=150, fork_seed=9, locks=False)


@cache
def strange() -> GeneratedChain:
    """Has only the genesis block in common with `ours`, and pays to nobody who is watched there."""
    return generate(260, 6, locks=False)


async def same_as_fresh(world: World, running: Start, run: Run, chain: GeneratedChain) -> None:
    """What `run` holds is what a new client of the same node and items would hold, and no peer was banned."""
    marks = run.client.status.marks
    assert (marks.tip, marks.tip_hash) == (chain.height, chain.tip_hash)
    assert not [code for code in run.warnings if code.startswith(("bad-", "broken-"))]
    assert not run.client.hopeless
    fresh = await stored_by_fresh(world, running, run)
    assert fresh == (run.client.store.digest(), run.client.balances())


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("other", [theirs, strange])
async def test_a_node_that_reorganises_during_a_phase(
    world: World, running: Start, autojump_clock: MockClock, phase: str, cut: bool, other: object
) -> None:
    """In each phase the node goes over to a heavier chain, with or without losing the connection."""
    assert callable(other)
    node, chain = world.add(ours(), 1, delay=0.2), other()
    config = world.config(1, watch=(*ours().watch, *chain.watch))
    async with running(config) as run:
        await run.until(phase)
        node.chain = chain
        if cut:
            await world.cut(1)
        else:
            await node.announce(1)
        await run.until("synced")
        while run.client.status.marks.tip_hash != chain.tip_hash:  # synced with the old one, the hint under way
            await trio.sleep(0.5)
            await run.until("synced")
        await same_as_fresh(world, running, run, chain)


@pytest.mark.parametrize("phase", PHASES)
async def test_of_two_nodes_on_different_chains_one_connects_during_a_phase(
    world: World, running: Start, autojump_clock: MockClock, phase: str
) -> None:
    """The heavier chain comes with a second peer while the first one's is being downloaded."""
    world.add(ours(), 1, delay=0.2)
    config = world.config(1, 2, watch=(*ours().watch, *theirs().watch))
    async with running(config) as run:
        await run.until(phase)
        world.add(theirs(), 2, delay=0.2)
        with trio.fail_after(300):
            while not (run.client.state == "synced" and run.client.status.marks.tip == 230):
                await trio.sleep(0.1)
        await same_as_fresh(world, running, run, theirs())


async def test_a_reorganisation_there_and_back(world: World, running: Start, autojump_clock: MockClock) -> None:
    """To a branch, and back to the first chain, which has grown meanwhile: as if it had never been left."""
    first = generate(200, 5, locks=False)
    node = world.add(first, 1)
    async with running(world.config(1, watch=first.watch)) as run:
        await run.until("synced")
        node.chain = theirs()
        await node.announce(1)
        await trio.sleep(5)
        await run.until("synced")
        assert run.client.status.marks.tip_hash == theirs().tip_hash
        first.extend(50)
        node.chain = first
        await node.announce(1)
        await trio.sleep(5)
        await run.until("synced")
        await same_as_fresh(world, running, run, first)


async def test_a_lone_peer_that_falls_back_to_a_lighter_chain_degrades(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The stored chain is heavier than what the only peer has: nothing is rolled back, nobody is banned."""
    world.add(theirs(), 1)
    config = world.config(1, watch=theirs().watch)
    async with running(attrs.evolve(config, filters=False, masternodes=False)) as run:
        await run.until("synced")
    world.add(ours(), 1)
    async with running(config) as run:
        await run.until("degraded")
        assert "follows the stored chain" in run.client.status.reason
        assert run.client.status.marks.tip_hash == theirs().tip_hash
        assert not run.client.hopeless
        world.add(theirs(), 1)
        await world.cut(1)
        await run.until("synced")


@pytest.mark.parametrize("state", ["filters", "synced"])
async def test_locks_from_before_a_reorg_get_nobody_banned(
    world: World, running: Start, autojump_clock: MockClock, state: str
) -> None:
    """Honest peers sent them on the old branch; on the new one other quorums were made, which signed none of them."""
    old, new = generate(260, 7), generate(275, 7, fork_at=200, fork_seed=3)
    nodes = [world.add(old, port, delay=0.3) for port in (1, 2)]
    async with running(world.config(1, 2)) as run:
        await run.until(state)
        await run.client.pause()
        await run.until("paused")
        for node in nodes:
            await node.switch(new)
        await run.client.resume()
        await run.until("synced")
        await trio.sleep(60.0)
        assert run.client.status.marks.tip_hash == new.tip_hash
        assert run.client.locks.false
        assert len(run.client.peers) == 2
        assert not [code for code in run.warnings if code.startswith("bad-")]
