"""Chains that grow, after a restart and during a sync: scenarios 22 and 30 of the list of field bugs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.p2p.simnet.generated import generate
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed, same_as_fresh

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

PHASES = ["headers", "mnlist", "cfheaders", "filters", "blocks"]
WALK = [*PHASES, "synced"]


@pytest.mark.parametrize("while_closed", [True, False])
async def test_22_one_new_block_after_a_restart_is_synced(
    world: World, running: Start, autojump_clock: MockClock, while_closed: bool
) -> None:
    """Three times over, with a payment in each block: the marks are those of before, and synced is reached again."""
    chain = generate(120, 5)
    node = world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
        marks = run.client.status.marks
    for _ in range(3):
        if while_closed:
            chain.extend(1, include=[chain.spend_watched()])
        async with running(config) as run:
            assert run.client.status.marks == marks
            await run.until("synced", within=10)
            if not while_closed:
                assert run.path == WALK
                assert run.client.status.marks.tip == marks.tip
                chain.extend(1, include=[chain.spend_watched()])
                await node.announce(1)
                await run.until_path(WALK * 2, within=10)
            is_complete(run, chain)
            assert run.client.status.marks.tip == marks.tip + 1
            assert run.client.store.matched_heights()[-1] == chain.height
            marks = run.client.status.marks
    async with running(config) as run:
        await run.until("synced")
        await same_as_fresh(world, running, run)


@pytest.mark.parametrize("phase", [*PHASES, "synced", "all"])
async def test_30_blocks_mined_while_syncing_are_synced_too(
    world: World, running: Start, autojump_clock: MockClock, phase: str
) -> None:
    """Twenty in bursts, within one phase or in each: no peer is too short, nothing stops just before the end."""
    chain = generate(120, 5)
    nodes = [world.add(chain, port, delay=0.1) for port in (1, 2)]
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        for state in WALK if phase == "all" else [phase]:
            await _until_entered(run, state)
            for burst in (7, 13):
                chain.extend(burst)
                for node in nodes:
                    await node.announce(burst)
                await trio.sleep(0.15)
        with trio.fail_after(60):
            while run.client.state != "synced" or run.client.status.marks.tip != chain.height:
                await trio.sleep(0.1)
        is_complete(run, chain)
        nobody_is_blamed(run)
        assert run.client.store.check() == ()
        await same_as_fresh(world, running, run)


async def _until_entered(run: Run, state: str) -> None:
    with trio.fail_after(60):
        while state not in run.path:
            await trio.sleep(0.01)
