"""A client that keeps no filters it has done with: it finds the same, and downloads them again when it has to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.config import watch_script
from phasegate.engine.phases import filters
from phasegate.store import segments
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

KEPT = 60
SMALL = {"batch": {"filters": 50}}


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments and margins fit for a chain of 300 blocks."""
    monkeypatch.setattr(segments, "FILTERS_SPAN", 20)
    monkeypatch.setattr(segments, "BULK", 20)
    monkeypatch.setattr(filters, "KEPT", KEPT)


def balances(run: Run) -> dict[str, int]:
    return {script.hex(): value for script, value in run.client.balances().items()}


async def test_the_same_is_found_and_the_newest_are_kept(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    chain = small_chain()
    world.add(chain, 1)
    config = attrs.evolve(world.config(1, watch=chain.watch, limits=SMALL), prune_filters=True)
    async with running(config) as run:
        await run.until("synced")
        marks = run.client.status.marks
        assert (marks.filters, marks.birthday, marks.filters_base) == (300, 0, 240)
        assert balances(run) == chain.expected["balances"]
        assert run.client.store.check() == ()
    async with running(config) as run:
        await run.until("synced")
        assert run.client.status.marks.filters_base == 240


async def test_what_is_watched_later_is_found_by_another_download(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Half is watched from the start; when the other half comes, all are downloaded, matched, and let go again."""
    chain = small_chain()
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch[:1], limits=SMALL)
    async with running(attrs.evolve(config, prune_filters=True)) as run:
        await run.until("synced")
        assert run.client.status.marks.filters_base == 240
        await run.client.watch(tuple([watch_script(item, chain.network) for item in chain.watch[1:]]))
        with trio.fail_after(300):
            while run.path.count("synced") < 2:
                await trio.sleep(0.05)
        marks = run.client.status.marks
        assert (marks.filters, marks.matched, marks.birthday, marks.filters_base) == (300, 300, 0, 240)
        assert balances(run) == chain.expected["balances"]
        assert run.client.store.check() == ()


async def test_what_is_watched_while_filters_come_ends_their_download(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Some are gone already when the other half is watched: all come again, and nothing is missed."""
    chain = small_chain()
    world.add(chain, 1, delay=0.2)
    config = world.config(1, watch=chain.watch[:1], limits={"batch": {"filters": 20}, "in_flight": {"filters": 2}})
    async with running(attrs.evolve(config, prune_filters=True)) as run:
        with trio.fail_after(300):
            while not 0 < run.client.status.marks.filters_base < 100:
                await trio.sleep(0.01)
        await run.client.watch(tuple([watch_script(item, chain.network) for item in chain.watch[1:]]))
        assert run.client.status.marks.filters_base == 0
        await run.until("synced")
        marks = run.client.status.marks
        assert (marks.filters, marks.matched, marks.filters_base) == (300, 300, 240)
        assert balances(run) == chain.expected["balances"]
