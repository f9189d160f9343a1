"""A client that is synced says what it has not looked for."""

from __future__ import annotations

import attrs
import pytest
from trio.testing import MockClock

from phasegate.engine.events import Warned
from phasegate.p2p.simnet.generated import generate
from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


def said(run: Run, code: str) -> list[str]:
    return [event.message for event in run.told if isinstance(event, Warned) and event.code == code]


async def test_balances_without_filters_are_told_to_be_old(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A store with watched items, and later no filters: once it is said how far they are true."""
    chain = generate(120, 3)
    node = world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
        assert said(run, "nothing-matched") == []
        before = run.client.balances()
    chain.extend(30)
    async with running(attrs.evolve(config, watch=(), filters=False)) as run:
        await run.until("synced")
        chain.extend(1)
        await node.announce(1)
        await run.until_path([*run.path, "headers", "mnlist", "synced"])
        assert run.client.balances() == before
        (line,) = said(run, "nothing-matched")
        assert line.endswith("nothing is matched: what is told of them is true of blocks up to 120")


async def test_a_birthday_that_is_to_come_is_told(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Synced, and nothing searched: that is said, and no more when the chain is there."""
    chain = generate(120, 3)
    world.add(chain, 1)
    config = attrs.evolve(world.config(1, watch=chain.watch), birthday=130)
    async with running(config) as run:
        await run.until("synced")
        assert said(run, "birthday-ahead") == ["the birthday is 130, above the newest block 120: none is searched"]
    chain.extend(20)
    async with running(config) as run:
        await run.until("synced")
        assert (said(run, "birthday-ahead"), run.client.status.marks.matched) == ([], 140)


async def test_what_is_watched_while_it_runs_without_filters_is_told(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """It is watched, for a later run that has filters, and said to be matched nowhere now."""
    world.add(generate(120, 3), 1)
    async with running(world.config(1, filters=False)) as run:
        await run.until("synced")
        assert said(run, "nothing-matched") == []
        await run.client.watch([b"\x51"])
        await run.until_path([*run.path, "headers", "mnlist", "synced"])
        (line,) = said(run, "nothing-matched")
        assert line.endswith("what is told of them is true of no block")
