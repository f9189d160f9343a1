"""Filters and blocks as a sequential client of others got them wrong: findings A1, A8 and A9 of the list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.config import Limits
from phasegate.p2p.messages import BlockMessage, CFilter, GetCFilters, GetData, InvType, Message, NotFound, Services
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed
from tests.simulated_world import Tapped, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

PLAIN = Identity(services=SERVICES & ~Services.COMPACT_FILTERS)
SMALL = {"batch": {**Limits().batch, "cfheaders": 1000, "filters": 20}, "in_flight": {"cfheaders": 1, "filters": 1}}


@attrs.define
class Withheld:
    """Keeps back what is `wanted` of a node's answers, until it is told to `give` it; counts how often."""

    kind: type[Message]
    height: int
    give: bool = False
    says_so: bool = False
    kept: int = 0

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        return attrs.evolve(answer, messages=self._messages(chain, answer))

    def _messages(self, chain: SimulatedChain, answer: Answer) -> Iterator[Message]:
        for message in answer.messages:
            if self.give or not isinstance(message, self.kind) or self._name(message) != chain.hash_at(self.height):
                yield message
                continue
            self.kept += 1
            if self.says_so:
                yield NotFound(())

    def _name(self, message: Message) -> bytes:
        if isinstance(message, BlockMessage):
            return message.block.hash
        assert isinstance(message, CFilter)
        return message.block_hash


# -- A1: matched blocks ---------------------------------------------------------------------------------------------


async def test_a01_matched_blocks_are_fetched_and_reach_the_wallet(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The phase is entered; each block that matches is asked for once and its payments and spendings are recorded."""
    chain = small_chain(300, 5)
    world.nodes[1] = tapped = Tapped(chain)
    tapped.delay = 0.2
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("blocks")
        assert run.client.status.marks.pending_blocks == len(run.client.store.matched_heights()) > 5
        assert run.client.transactions() == []
        await run.until("synced")
        asked = [item.hash for told in tapped.taken if isinstance(told, GetData) for item in told.items]
        matched = run.client.store.matched_heights()
        assert set(chain.watched_heights) <= set(matched)
        blocks = [item for item in asked if chain.height_of(item) is not None]
        assert sorted(blocks) == sorted(map(chain.hash_at, matched))
        stays = [stay for stay in run.client.completed if stay.phase == "blocks"]
        assert [stay.items for stay in stays] == [len(matched)]
        is_complete(run, chain)


async def test_a01_each_request_for_a_block_is_tracked(world: World, running: Start, autojump_clock: MockClock) -> None:
    """While blocks are on their way the ledger knows which, of whom and until when, and the phase is not complete."""
    chain = small_chain(300, 5)
    world.add(chain, 1, delay=1.0)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("blocks")
        await trio.sleep(0.5)
        views = run.client._ledger.open_requests()
        assert views
        for view in views:
            assert (view.phase, view.command, view.peer) == ("blocks", "getdata", run.client.peers[0])
            assert trio.current_time() < view.deadline <= view.sent_at + Limits().idle_timeout
        assert run.client.facts.outstanding == len(views)
        assert not run.client.facts.blocks_complete
        await run.until("synced")
        is_complete(run, chain)


@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize("peers", [1, 2])
async def test_a01_a_block_that_does_not_come_is_asked_for_until_it_does(
    world: World, running: Start, autojump_clock: MockClock, peers: int, says_so: bool
) -> None:
    """Of one peer or of two that both lack it: for ten minutes nothing is synced, then it comes, and all is found."""
    chain = small_chain(300, 5)
    held = [Withheld(BlockMessage, chain.watched_heights[3], says_so=says_so) for _ in range(peers)]
    for port, lie in enumerate(held, 1):
        world.add(chain, port, lie=lie)
    async with running(world.config(*range(1, peers + 1), watch=chain.watch)) as run:
        await run.until("blocks")
        await trio.sleep(600)
        assert "synced" not in run.path
        assert run.client.status.marks.pending_blocks > 0
        assert all(lie.kept > 1 for lie in held)
        for lie in held:
            lie.give = True
        await run.until("synced", within=120)
        is_complete(run, chain)
        nobody_is_blamed(run)


async def test_a01_a_block_that_one_peer_lacks_is_had_of_another(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Within seconds, whoever is asked first."""
    chain = small_chain(300, 5)
    world.add(chain, 1, lie=(lacking := Withheld(BlockMessage, chain.watched_heights[0])))
    world.nodes[2] = tapped = Tapped(chain)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced", within=30)
        is_complete(run, chain)
    asked = [item for told in tapped.taken if isinstance(told, GetData) for item in told.items]
    assert lacking.kept <= 1
    assert chain.hash_at(chain.watched_heights[0]) in {item.hash for item in asked if item.type == InvType.BLOCK}


# -- A8: nobody serves filters --------------------------------------------------------------------------------------


async def test_a08_without_a_filter_peer_filter_headers_are_not_complete(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The phase is not left: no filter header is stored, its guard says no for an hour, nothing is called synced."""
    chain = small_chain(120, 5)
    world.add(chain, 1, identity=PLAIN)
    async with running(world.config(1, watch=chain.watch)) as run:
        for _ in range(3600):
            await trio.sleep(1)
            facts = run.client.facts
            assert not facts.cfheaders_complete
            assert not facts.all_enabled_complete
        assert run.client.status.marks.filter_headers < 0
        assert set(run.path) <= {"headers", "mnlist", "cfheaders", "degraded"}
        assert {row.event for row in run.client.history() if row.source == "cfheaders"} == {"fail"}
        assert run.client.state == "degraded" or run.client.recovering or run.client.state in run.path


@pytest.mark.parametrize("phase", ["cfheaders", "filters"])
async def test_a08_the_last_filter_peer_that_leaves_half_way_leaves_it_half_done(
    world: World, running: Start, autojump_clock: MockClock, phase: str
) -> None:
    """What it had brought stays stored, and is not called complete; the next one brings the rest."""
    chain = small_chain(2100, 5)
    filtering = world.add(chain, 1, delay=0.5)
    world.add(chain, 2, identity=PLAIN)
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False, limits=SMALL)) as run:
        await run.until(phase)
        mark = "filter_headers" if phase == "cfheaders" else "filters"
        with trio.fail_after(60):
            while getattr(run.client.status.marks, mark) < 0:
                await trio.sleep(0.05)
        del world.nodes[1]
        await world.cut(1)
        await trio.sleep(600)
        half = getattr(run.client.status.marks, mark)
        assert 0 < half < chain.height
        assert "synced" not in run.path
        assert run.client.peers
        assert not run.client.facts.filters_complete
        world.nodes[1] = filtering
        await run.until("synced", within=300)
        is_complete(run, chain)


# -- A9: filters are not given up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("peers", [1, 2])
async def test_a09_a_filter_range_that_nobody_serves_is_never_given_up(
    world: World, running: Start, autojump_clock: MockClock, peers: int
) -> None:
    """One filter of it is missing at every peer: asked for far more than three times, and the phase never left."""
    chain = small_chain(300, 5)
    held = [Withheld(CFilter, 150) for _ in range(peers)]
    for port, lie in enumerate(held, 1):
        world.add(chain, port, lie=lie)
    async with running(world.config(*range(1, peers + 1), watch=chain.watch, masternodes=False, limits=SMALL)) as run:
        await run.until("filters")
        for _ in range(3600):
            await trio.sleep(1)
            assert run.client.status.marks.filters < 150
            assert not run.client.facts.filters_complete
            assert run.client.state not in ("blocks", "synced", "failed")
        assert sum(lie.kept for lie in held) > 10
        assert "degraded" in run.path
        assert not {"blocks", "synced", "failed"} & set(run.path)
        for lie in held:
            lie.give = True
        await run.until("synced", within=120)
        is_complete(run, chain)
        nobody_is_blamed(run)


async def test_a09_the_ranges_beside_it_are_stored_and_not_asked_for_again(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What precedes the gap stays: after the gap is closed the rest is asked for, and no filter below it."""
    chain = generate(300, 5)
    lie = Withheld(CFilter, 150)
    world.nodes[1] = tapped = Tapped(chain)
    tapped.lie = lie  # type: ignore[assignment]
    async with running(world.config(1, watch=chain.watch, masternodes=False, limits=SMALL)) as run:
        await run.until("filters")
        await trio.sleep(120)
        stored, so_far = run.client.status.marks.filters, len(tapped.kept)
        assert 100 < stored < 150
        lie.give = True
        await run.until("synced", within=120)
        assert so_far
        starts = [told.start_height for told in tapped.taken if isinstance(told, GetCFilters)]
        assert starts.count(0) == 1
        assert min(starts[len(starts) - 5 :]) > stored
        is_complete(run, chain)
