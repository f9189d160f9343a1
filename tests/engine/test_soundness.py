"""Complete is not enough: an old newest block or too little work leaves a client degraded, until that ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.params import NETWORKS
from phasegate.engine.config import Config
from phasegate.engine.events import Transition
from tests.block_trees import LISTLESS, WATCHED, ListlessChain
from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

HOUR = 3600
MAX_AGE = 2 * HOUR
PATH = ["headers", "cfheaders", "filters", "blocks"]


@pytest.fixture
def chain() -> ListlessChain:
    """120 blocks that a test may let grow."""
    return ListlessChain(((120, 0),))


def tip_time(chain: ListlessChain) -> int:
    """What the newest header states."""
    return chain.tip.window[-1][0]


def age(monkeypatch: pytest.MonkeyPatch, chain: ListlessChain, seconds: float) -> None:
    """The test begins when the newest block is that old."""
    monkeypatch.setattr("tests.simulated_world.START", tip_time(chain) + float(seconds))


def config(world: World, *ports: int, **changes: Any) -> Config:
    """A client that wants a block of the last two hours."""
    settings = {"masternodes": False, "max_tip_age": float(MAX_AGE), "watch": (WATCHED.hex(),)}
    return world.config(*ports, network=LISTLESS, **{**settings, **changes})


async def fresh_block(chain: ListlessChain, seconds: float) -> None:
    """One block more, so many seconds after the one before."""
    chain.spacing = int(seconds)
    chain.grow(1, 1)


async def within(run: Run, state: str, seconds: float) -> float:
    """How long it took until the client was in `state`, at most so many seconds."""
    began = trio.current_time()
    await run.until(state, seconds)
    return trio.current_time() - began


async def test_an_old_newest_block_degrades_with_everything_stored(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, chain: ListlessChain
) -> None:
    """All phases are walked first; the reason names the block and its age, in the status and in the transition."""
    age(monkeypatch, chain, 5 * HOUR)
    world.add(chain, 1)
    async with running(config(world, 1)) as run:
        await run.until("degraded")
        assert run.path == [*PATH, "degraded"]
        assert run.client.status.reason == "stale tip: the newest block, 120, is 5.0 hours old"
        last = [event for event in run.told if isinstance(event, Transition)][-1]
        assert (last.trigger, last.reason) == ("advance", run.client.status.reason)
        marks = run.client.status.marks
        assert (marks.filters, marks.matched, marks.pending_blocks) == (120, 120, 0)
        assert run.client.balances()[WATCHED] > 0
        assert run.client.struggling


async def test_a_fresh_block_ends_it_at_once(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, chain: ListlessChain
) -> None:
    """A hint is enough: nobody waits for the next try."""
    age(monkeypatch, chain, 5 * HOUR)
    node = world.add(chain, 1)
    async with running(config(world, 1)) as run:
        await run.until("degraded")
        await fresh_block(chain, 5 * HOUR)
        await node.announce(1)
        assert await within(run, "synced", 3) < 3
        assert run.path == [*PATH, "degraded", *PATH, "synced"]
        assert (run.client.status.marks.tip, run.client.status.reason) == (121, "")


async def test_a_block_that_is_old_itself_does_not(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, chain: ListlessChain
) -> None:
    """A chain that is being caught up with stays a stale one until its end is fresh."""
    age(monkeypatch, chain, 9 * HOUR)
    node = world.add(chain, 1)
    async with running(config(world, 1)) as run:
        await run.until("degraded")
        for number, hours in enumerate((3, 3, 3), 121):
            await fresh_block(chain, hours * HOUR)
            await node.announce(1)
            await trio.sleep(20)
            assert run.client.status.marks.tip == number
            assert run.client.state == ("synced" if number == 123 else "degraded")
        assert run.path.count("synced") == 1


async def test_a_fresh_block_that_nobody_announced_is_found(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, chain: ListlessChain
) -> None:
    """The peers are asked again now and then, without a busy loop."""
    age(monkeypatch, chain, 5 * HOUR)
    world.add(chain, 1)
    async with running(config(world, 1)) as run:
        await run.until("degraded")
        await trio.sleep(300)
        assert run.client.state == "degraded"
        assert 5 <= run.path.count("degraded") <= 15
        assert run.client.status.reason.startswith("stale tip: the newest block, 120, is 5.")
        await fresh_block(chain, 5 * HOUR)
        assert await within(run, "synced", 60) > 0


async def test_a_synced_client_becomes_stale_when_no_block_comes(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, chain: ListlessChain
) -> None:
    """Not a second too early; then the next block heals it."""
    age(monkeypatch, chain, MAX_AGE - 60)
    node = world.add(chain, 1)
    async with running(config(world, 1)) as run:
        await run.until("synced")
        await trio.sleep(60 - trio.current_time())
        assert run.client.state == "synced"
        await trio.sleep(2)
        assert run.path == [*PATH, "synced", "degraded"]
        assert run.client.status.reason == "stale tip: the newest block, 120, is 2.0 hours old"
        await fresh_block(chain, MAX_AGE)
        await node.announce(1)
        await within(run, "synced", 3)


async def test_a_block_of_the_future_is_not_stale(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, chain: ListlessChain
) -> None:
    """A header may be two hours ahead of the clock."""
    age(monkeypatch, chain, -2 * HOUR)
    world.add(chain, 1)
    async with running(config(world, 1)) as run:
        await run.until("synced")
        await trio.sleep(10)
        assert run.client.state == "synced"


@pytest.mark.parametrize("seconds", [0, 10 * HOUR])
async def test_what_is_stored_and_stale_is_degraded_from_the_start(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    chain: ListlessChain,
    seconds: int,
) -> None:
    """Between two runs a block gets old, whatever the first one said."""
    world.add(chain, 1)
    age(monkeypatch, chain, seconds)
    async with running(config(world, 1)) as run:
        await run.until("degraded" if seconds else "synced")
    age(monkeypatch, chain, 10 * HOUR)
    async with running(config(world, 1)) as run:
        await run.until("degraded")
        assert "synced" not in run.path
        await run.client.pause()
        await run.until("paused")
        await run.client.resume()
        await run.until("degraded")


async def test_without_a_limit_no_tip_is_stale(
    world: World, running: Start, autojump_clock: MockClock, chain: ListlessChain
) -> None:
    """Thirteen years are nothing on regtest."""
    world.add(chain, 1)
    async with running(config(world, 1, max_tip_age=None)) as run:
        await run.until("synced")


@pytest.mark.parametrize("name", NETWORKS)
async def test_the_limit_is_a_day_where_blocks_are_made_for_real(name: str) -> None:
    """Never on regtest and simnet; 0 turns it off anywhere."""
    day = None if name in ("regtest", "simnet") else 86400.0
    assert Config.create(name).max_tip_age == day
    assert Config.create(name, max_tip_age=0).max_tip_age is None
    assert Config.create(name, max_tip_age=5.5).max_tip_age == 5.5


async def test_too_little_work_is_never_complete(
    world: World, running: Start, autojump_clock: MockClock, chain: ListlessChain
) -> None:
    """No other phase is entered; the block that brings enough work ends it at once."""
    node = world.add(chain, 1)
    async with running(config(world, 1, max_tip_age=None, min_chainwork=chain.work + 1)) as run:
        await run.until("degraded")
        assert run.path == ["headers", "degraded"]
        assert run.client.status.reason.startswith("not enough work: the chain at 120 has")
        await trio.sleep(100)
        assert set(run.path) == {"headers", "degraded"}
        await fresh_block(chain, 150)
        await node.announce(1)
        assert await within(run, "synced", 3) < 3


async def test_a_peer_with_more_work_ends_it(
    world: World, running: Start, autojump_clock: MockClock, chain: ListlessChain
) -> None:
    """A peer that comes later is asked at once."""
    world.add(chain, 1)
    async with running(config(world, 1, 2, max_tip_age=None, min_chainwork=chain.work + 1)) as run:
        await run.until("degraded")
        world.add(ListlessChain(((130, 0),)), 2)
        await run.until("synced")
        assert run.client.status.marks.tip == 130
