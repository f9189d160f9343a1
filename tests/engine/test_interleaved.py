"""The interleaved strategy: the same data stored as by the sequential one, each phase as far as its input reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.events import Transition
from phasegate.engine.room import Room, Share
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.places import leaves_of
from phasegate.verification.recorded import Recorded
from phasegate.verification.replay import replay
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

SMALL = {"batch": {"cfheaders": 1000, "filters": 20, "blocks": 4}}


async def test_the_phases_run_beside_each_other(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Blocks are fetched while filters come; what is stored in the end is the node's own, and the journal is lawful."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch, limits=SMALL, strategy="interleaved")) as run:
        await run.until("synced")
        marks = run.client.status.marks
        assert marks.masternodes == marks.filter_headers == marks.filters == marks.matched == chain.height
        assert marks.filter_header == chain.filter_header(chain.height)
        found = [tx.txid[::-1].hex() for tx in run.client.transactions()]
        assert found == list(chain.expected["transactions"])
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        assert run.path[0] == "headers"
        assert run.path[-1] == "synced"
        together = [set(leaves_of(place)) for place in run.path]
        assert any({"filters", "blocks"} <= leaves for leaves in together)
        assert any({"mnlist", "cfheaders"} <= leaves for leaves in together)
        assert {run_.phase for run_ in run.client.completed} == {"headers", "mnlist", "cfheaders", "filters", "blocks"}
        outcome = replay(map(Recorded.from_row, run.client.history()), CHARTS["interleaved"])
        assert (outcome.breaches, outcome.completed, outcome.unjudged) == ((), 1, 0)


@pytest.mark.parametrize(("masternodes", "filters"), [(False, True), (True, False), (False, False)])
async def test_disabled_regions_rest(
    world: World, running: Start, autojump_clock: MockClock, masternodes: bool, filters: bool
) -> None:
    """What is not wanted never works, and nothing of it is stored."""
    world.add(small_chain(), 1)
    config = world.config(1, masternodes=masternodes, filters=filters, strategy="interleaved")
    async with running(config) as run:
        await run.until("synced")
        marks = run.client.status.marks
        assert (marks.masternodes is not None, marks.filters > -1) == (masternodes, filters)
        worked = {leaf for place in run.path for leaf in leaves_of(place)}
        assert ("mnlist" in worked, "filters" in worked) == (masternodes, filters)


async def test_the_strategy_may_be_changed_between_two_runs(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The store is the same, and the journal of both is judged by both charts."""
    chain = small_chain()
    world.add(chain, 1)
    digests, rows = list[str](), list[Recorded]()
    for strategy in ("sequential", "interleaved", "sequential"):
        async with running(world.config(1, watch=chain.watch, strategy=strategy)) as run:
            await run.until("synced")
            while run.client.pending_locks:
                await trio.sleep(0.1)
            digests.append(run.client.store.digest())
            rows = [Recorded.from_row(row) for row in run.client.history()]
    assert len(set(digests)) == 1
    for name in ("sync", "interleaved"):
        outcome = replay(rows, CHARTS[name])
        assert (outcome.breaches, outcome.restarts) == ((), 2)


async def test_a_pause_stops_every_region(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Nothing is under way any more, and the client goes on from the headers."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch, limits=SMALL, strategy="interleaved")) as run:
        async for event in run.client.events():
            if isinstance(event, Transition) and "filters" in leaves_of(event.target):
                break
        await run.client.pause()
        await run.until("paused")
        await run.settled()  # the chart is there before all that was left has ended
        assert run.client.open_requests == ()
        assert run.client.current is None
        await run.client.resume()
        await run.until("synced")
        assert run.client.status.marks.filters == chain.height


class WatchedRoom(Room):
    """Room that keeps the most that was taken, and by how many downloads at once, whenever one asked."""

    def __init__(self, asked: list[tuple[int, int]]) -> None:
        super().__init__()
        self._asked = asked

    def taken_beside(self, share: Share) -> int:
        takers = [other for other in self._shares if other.takes()]
        self._asked.append((self.taken, len(takers)))
        return super().taken_beside(share)


async def test_all_regions_together_hold_what_one_phase_may(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound on memory is the client's, not each region's: the limit, and the one result that exceeds it."""
    chain, asked, hold = small_chain(), list[tuple[int, int]](), 8000
    monkeypatch.setattr("phasegate.engine.requests.Room", lambda: WatchedRoom(asked))
    world.add(chain, 1)
    limits = {"batch": {"cfheaders": 50, "filters": 5, "blocks": 2}, "hold_bytes": hold}
    async with running(world.config(1, watch=chain.watch, limits=limits, strategy="interleaved")) as run:
        await run.until("synced")
        assert run.client.status.marks.matched == chain.height
    most, downloads = max(taken for taken, _ in asked), max(takers for _, takers in asked)
    assert downloads > 2
    assert most <= hold + hold // 2  # so much is expected of the first result of a phase
