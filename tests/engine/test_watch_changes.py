"""Watch items that come and go while a phase is at work: no crash, and the right balances in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.phases import filters
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("again", [True, False])
async def test_an_item_removed_while_filters_are_matched(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    keep: int,
    again: bool,
) -> None:
    """Removed, or removed and added anew, between the matching and the commit of its result: no crash."""
    chain = small_chain()
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    gone = config.watch[keep:]
    real: Any = filters._match
    async with running(config) as run:

        async def match_and_change(*args: Any) -> Any:
            monkeypatch.setattr(filters, "_match", real)
            result = await real(*args)
            with trio.CancelScope(shield=True):  # this runs inside the activity that the first change ends
                await run.client.unwatch(gone)
                if again:
                    await run.client.watch(gone)
            return result

        monkeypatch.setattr(filters, "_match", match_and_change)
        await run.until("synced")
        assert set(run.client.balances()) == set(config.watch if again else config.watch[:keep])
        if again:
            assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]


@pytest.mark.parametrize("phase", ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"])
async def test_items_that_come_and_go_in_each_phase(
    world: World, running: Start, autojump_clock: MockClock, phase: str
) -> None:
    """Half of the items are removed, then all are added; the balances are the chain's."""
    chain = small_chain()
    world.add(chain, 1, delay=0.2)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await run.until(phase)
        await run.client.unwatch(config.watch[::2])
        await trio.sleep(0.3)
        await run.client.watch(config.watch)
        await run.client.watch(config.watch)
        await trio.sleep(1)
        await run.until("synced")
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        assert [tx.txid[::-1].hex() for tx in run.client.transactions()] == list(chain.expected["transactions"])


async def test_who_watches_more_and_waits_has_all_of_it(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A client that is synced has not heard yet of what was added a moment ago; it is not synced with that."""
    chain = small_chain()
    world.add(chain, 1, delay=0.2)
    async with running(world.config(1, watch=chain.watch[:1])) as run:
        await run.client.wait_synced()
        await run.client.watch(chain.watch)
        await run.client.wait_synced()
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
