"""`rescan`: everything watched is matched again, and what is stored in the end is what a fresh scan stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.errors import ConfigError
from phasegate.engine.phases import filters
from phasegate.store import segments
from tests.engine.test_pruned_filters import KEPT
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


async def synced_again(run: Run, walks: int = 2) -> None:
    with trio.fail_after(300):
        while run.path.count("synced") < walks:
            await trio.sleep(0.01)


@pytest.mark.parametrize("start", [0, 150, 300])
async def test_a_rescan_stores_what_a_fresh_scan_stores(
    world: World, running: Start, autojump_clock: MockClock, start: int
) -> None:
    """Nothing is forgotten meanwhile, nothing is told again, and the digest is the same."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        digest, found, told = run.client.store.digest(), run.client.transactions(), len(run.told)
        await run.client.rescan(start)
        assert run.client.status.marks.matched == start - 1
        assert run.client.transactions() == found
        assert run.client.store.digest() != digest
        await synced_again(run)
        assert run.client.store.digest() == digest
        assert run.client.transactions() == found
        assert "transactionfound" not in [type(event).__name__.lower() for event in run.told[told:]]
        assert run.path[-6:] == ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]


async def test_a_rescan_finds_what_a_hole_had_lost(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A store whose findings were taken out is made whole, and equals one that never lost any."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        digest = run.client.store.digest()
        with run.client.store._database.transaction() as rows:
            rows.run("DELETE FROM coins WHERE height > 100 AND spent_by IS NULL")
        assert run.client.store.digest() != digest
        await run.client.rescan()
        await synced_again(run)
        assert run.client.store.digest() == digest


@pytest.mark.parametrize("phase", ["filters", "blocks"])
async def test_a_rescan_in_the_middle_of_a_sync(
    world: World, running: Start, autojump_clock: MockClock, phase: str
) -> None:
    """While filters or blocks come: the phase begins again, and ends with the same."""
    chain = small_chain()
    world.add(chain, 1, delay=0.1)
    config = world.config(1, watch=chain.watch, limits={"batch": {"filters": 40, "blocks": 2}})
    async with running(attrs.evolve(config, datadir=world.directory / "fresh")) as fresh:
        await fresh.until("synced")
        digest = fresh.client.store.digest()
    async with running(config) as run:
        await run.until(phase)
        await trio.sleep(0.25)
        await run.client.rescan()
        await run.until("synced")
        assert run.client.store.digest() == digest


async def test_filters_that_were_not_kept_come_again(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only when the rescan begins below those that are stored."""
    monkeypatch.setattr(segments, "FILTERS_SPAN", 20)
    monkeypatch.setattr(segments, "BULK", 20)
    monkeypatch.setattr(filters, "KEPT", KEPT)
    chain = small_chain()
    world.add(chain, 1)
    config = attrs.evolve(world.config(1, watch=chain.watch, limits={"batch": {"filters": 50}}), prune_filters=True)
    async with running(config) as run:
        await run.until("synced")
        digest = run.client.store.digest()
        await run.client.rescan(250)
        assert run.client.status.marks.filters_base == 240
        await synced_again(run)
        await run.client.rescan(100)
        assert run.client.status.marks.filters_base == 0
        await synced_again(run, 3)
        assert run.client.store.digest() == digest


async def test_it_is_refused_by_name(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Heights that there are not, and a client that matches nothing."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        for wrong in (-1, 301):
            with pytest.raises(ConfigError, match=f"rescan: {wrong} is no height from 0 to 300"):
                await run.client.rescan(wrong)
    async with running(attrs.evolve(world.config(1), filters=False)) as run:
        with pytest.raises(ConfigError, match="rescan: without filters nothing is matched"):
            await run.client.rescan()
