"""Callers who call back, from wherever they are called: scenario 29 of the list of field bugs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine import sync
from phasegate.engine.client import Client
from phasegate.engine.events import Transition
from tests.field_bugs.fresh_clients import is_complete
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

PHASES = ["headers", "mnlist", "cfheaders", "filters", "blocks"]
WALK = [*PHASES, "synced"]


@attrs.define
class Meddler:
    """At each event asks everything, and in each state a few times changes what can be changed."""

    client: Client
    scripts: tuple[bytes, ...]
    meddled: Counter[str] = attrs.field(factory=Counter)

    async def run(self) -> None:
        async for event in self.client.events():
            self.ask()
            if isinstance(event, Transition) and self.meddled[event.target] < 2 and event.target != "paused":
                self.meddled[event.target] += 1
                await self.change()

    def ask(self) -> None:
        client = self.client
        assert len(client.history(limit=5)) <= 5
        assert sum(client.balances().values()) >= 0
        assert all(found.row_id for found in client.transactions())
        assert client.status.marks == client.facts.marks
        assert client.progress() is None or client.current is not None

    async def change(self) -> None:
        await self.client.unwatch(self.scripts[::2])
        await self.client.pause()
        await self.client.watch(self.scripts)
        await self.client.resume()


async def test_29_a_subscriber_that_calls_back_deadlocks_nothing(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """In every state, from within the loop over the events: the watchdog never barks, and the sums are right."""
    chain = small_chain(120, 5)
    world.add(chain, 1, delay=0.2)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run, trio.open_nursery() as nursery:
        meddler = Meddler(run.client, config.watch)
        nursery.start_soon(meddler.run)
        with trio.fail_after(300):
            while not set(WALK) <= set(meddler.meddled) or run.client.state != "synced":
                await trio.sleep(0.5)
        await trio.sleep(30)
        assert run.client.state == "synced"
        is_complete(run, chain)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("phase", WALK)
async def test_29_hundreds_of_callers_at_once_deadlock_nothing(
    world: World, running: Start, autojump_clock: MockClock, phase: str
) -> None:
    """More than any queue inside holds, while the state that they call into is just being left."""
    chain = small_chain(120, 5)
    world.add(chain, 1, delay=0.2)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await run.until(phase)
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for number in range(300):
                    calls = (run.client.pause, run.client.resume, lambda: run.client.watch(config.watch))
                    nursery.start_soon(calls[number % 3])
            await run.client.resume()
        await run.until("synced", within=60)
        is_complete(run, chain)


async def test_29_a_call_out_of_an_activity_that_ends_by_it_deadlocks_nothing(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each phase is paused from inside itself, at its end: it has finished when the chart goes on."""
    chain = small_chain(120, 5)
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        for name in ("headers", "masternodes", "filter_headers", "filters", "blocks"):
            _paused_at_its_end(monkeypatch, run, f"download_{name}")
        with trio.fail_after(60):
            for _ in PHASES:
                await run.until("paused")
                await run.client.resume()
                await run.settled()
            await run.until("synced")
        assert run.path.count("paused") == len(PHASES)
        is_complete(run, chain)


def _paused_at_its_end(monkeypatch: pytest.MonkeyPatch, run: Run, name: str) -> None:
    real: Any = getattr(sync, name)

    async def activity(work: Any) -> None:
        await real(work)
        monkeypatch.setattr(sync, name, real)
        with trio.CancelScope(shield=True):
            await run.client.watch(run.client.config.watch)
            await run.client.pause()

    monkeypatch.setattr(sync, name, activity)
