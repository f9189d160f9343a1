"""Reorganisations of 1, 2, 50 and 1,000 blocks, in each phase, while synced, paused and stopped.

Whenever it happens, what is stored in the end is what a fresh sync of the new chain stores.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.node import Node
from tests.fresh_twins import stored_by_fresh

if TYPE_CHECKING:
    from phasegate.engine.config import Config
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

HEIGHT = 1_100
DEPTHS = (1, 2, 50, 1_000)
PHASES = ("headers", "mnlist", "cfheaders", "filters", "blocks")


@cache
def old() -> GeneratedChain:
    """The chain before; no ChainLock binds anybody to it."""
    return generate(HEIGHT, 21, locks=False)


@cache
def new(depth: int) -> GeneratedChain:
    """The chain after a reorganisation that takes `depth` blocks away and brings at least one more."""
    longer = 1 + depth // 20
    chain = generate(HEIGHT + longer, 21, fork_at=HEIGHT - depth, fork_seed=depth, locks=False)
    while chain.tip.work <= old().tip.work:
        chain.extend(1)
    return chain


def _config(world: World, depth: int) -> Config:
    return world.config(1, watch=tuple(dict.fromkeys((*old().watch, *new(depth).watch))))


async def _switch(node: Node, depth: int) -> None:
    node.chain = new(depth)
    await node.announce(1)


async def _same_as_fresh(world: World, running: Start, run: Run, depth: int) -> None:
    chain = new(depth)
    with trio.fail_after(600):
        while run.client.status.marks.tip_hash != chain.tip_hash or run.client.state != "synced":
            await trio.sleep(0.5)
    assert not run.client.hopeless
    assert not [code for code in run.warnings if code.startswith(("bad-", "broken-"))]
    fresh = await stored_by_fresh(world, running, run)
    assert fresh == (run.client.store.digest(), run.client.balances())


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("phase", PHASES)
async def test_in_a_phase(world: World, running: Start, autojump_clock: MockClock, phase: str, depth: int) -> None:
    """The node goes over while the client is in this phase."""
    node = world.add(old(), 1, delay=0.2)
    async with running(_config(world, depth)) as run:
        await run.until(phase)
        await _switch(node, depth)
        await _same_as_fresh(world, running, run, depth)


@pytest.mark.parametrize("depth", DEPTHS)
async def test_while_synced(world: World, running: Start, autojump_clock: MockClock, depth: int) -> None:
    """The node goes over when all is done."""
    node = world.add(old(), 1)
    async with running(_config(world, depth)) as run:
        await run.until("synced")
        await _switch(node, depth)
        await _same_as_fresh(world, running, run, depth)
        assert "rewound" in [type(event).__name__.lower() for event in run.told]


@pytest.mark.parametrize("depth", DEPTHS)
async def test_while_paused(world: World, running: Start, autojump_clock: MockClock, depth: int) -> None:
    """The node goes over while the client is paused; resuming finds it out."""
    node = world.add(old(), 1)
    async with running(_config(world, depth)) as run:
        await run.until("synced")
        await run.client.pause()
        await _switch(node, depth)
        await trio.sleep(60)
        assert (run.client.state, run.client.status.marks.tip) == ("paused", HEIGHT)
        await run.client.resume()
        await _same_as_fresh(world, running, run, depth)


@pytest.mark.parametrize("depth", DEPTHS)
async def test_while_stopped(world: World, running: Start, autojump_clock: MockClock, depth: int) -> None:
    """The node goes over while no client runs; the next start finds it out."""
    node = world.add(old(), 1)
    config = _config(world, depth)
    async with running(config) as run:
        await run.until("synced")
    await _switch(node, depth)
    async with running(config) as run:
        await _same_as_fresh(world, running, run, depth)
