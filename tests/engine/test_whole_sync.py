"""Whole clients against simulated nodes: every phase really completes, and what cannot complete says so."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.p2p.simnet.generated import generate
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]


async def test_a_client_walks_all_phases_in_order(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Headers, masternodes, filter headers, filters, blocks: the stored result is the node's own."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        marks = run.client.status.marks
        assert run.path == WALK
        assert (marks.tip, marks.tip_hash, marks.work > 0) == (chain.height, chain.tip_hash, True)
        assert marks.masternodes == marks.filter_headers == marks.filters == marks.matched == chain.height
        assert marks.filter_header == chain.filter_header(chain.height)
        found = [tx.txid[::-1].hex() for tx in run.client.transactions()]
        assert found == list(chain.expected["transactions"])
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        assert run.client.requests.unasked == run.client.requests.late == 0


@pytest.mark.parametrize(
    ("masternodes", "filters", "path"),
    [
        (False, True, ["headers", "cfheaders", "filters", "blocks", "synced"]),
        (True, False, ["headers", "mnlist", "synced"]),
        (False, False, ["headers", "synced"]),
    ],
)
async def test_disabled_phases_are_left_out(
    world: World, running: Start, autojump_clock: MockClock, masternodes: bool, filters: bool, path: list[str]
) -> None:
    """What is not wanted is never entered, and nothing of it is stored."""
    world.add(small_chain(), 1)
    async with running(world.config(1, masternodes=masternodes, filters=filters)) as run:
        await run.until("synced")
        marks = run.client.status.marks
        assert run.path == path
        assert (marks.masternodes is not None) == masternodes
        assert (marks.filters > -1) == filters


async def test_a_synced_client_that_restarts_passes_every_phase_by_its_guard(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Nothing stored is asked for again: two questions, whether there are better headers and what the filter tip is."""
    chain = small_chain()
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
        while run.client.pending_locks:  # some need quorums of the past, which the next walk brings
            await trio.sleep(0.1)
        digest = run.client.store.digest()
    async with running(config) as run:
        await run.until("synced")
        assert run.path == WALK
        assert run.client.store.digest() == digest
        assert run.client.requests.sent == 2


async def test_new_blocks_are_noticed_and_walked(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A burst of blocks while synced leads to headers and through all phases again."""
    chain = generate(120, 3)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        chain.extend(11)
        await node.announce(11)
        await run.until_path([*WALK, *WALK])
        assert run.client.status.marks.tip == run.client.status.marks.matched == 131
        assert [tx.txid[::-1].hex() for tx in run.client.transactions()] == list(chain.expected["transactions"])


async def test_a_heavier_branch_replaces_the_stored_one_in_every_table(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A reorg while offline: what a client holds after it equals what a new client would hold."""
    ours, theirs = generate(200, 5), generate(230, 5, fork_at=150, fork_seed=9)
    world.add(ours, 1)
    config = world.config(1, watch=ours.watch)
    async with running(config) as run:
        await run.until("synced")
        assert run.client.status.marks.tip == 200
    world.add(theirs, 1)
    async with running(config) as run:
        await run.until("synced")
        assert (run.client.status.marks.tip_hash, run.client.status.marks.tip) == (theirs.tip_hash, 230)
        digest = run.client.store.digest()
    world.directory /= "fresh"
    async with running(attrs.evolve(config, datadir=world.directory)) as run:
        await run.until("synced")
        assert run.client.store.digest() == digest


async def test_the_heaviest_of_several_chains_wins(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Three nodes on three chains: the one with most work is stored, and nobody is banned for having less."""
    chains = [generate(n, 5, fork_at=100, fork_seed=n) for n in (150, 180, 160)]
    for port, chain in enumerate(chains, 1):
        world.add(chain, port)
    async with running(world.config(1, 2, 3, watch=chains[0].watch)) as run:
        await run.until("synced")
        assert run.client.status.marks.tip_hash == max(chains, key=lambda c: c.height).tip_hash
        assert not any(code.startswith("bad-") for code in run.warnings)


async def test_an_item_watched_later_is_found_without_downloading_filters_again(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """All filters are kept: only the matched blocks are fetched for a new item."""
    chain = small_chain()
    node = world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        sent = run.client.requests.sent
        config = world.config(1, watch=chain.watch)
        await run.client.watch(config.watch)
        await run.until_path([*WALK, *WALK])
        assert {s.hex(): v for s, v in run.client.balances().items()} == chain.expected["balances"]
        assert run.client.requests.sent > sent
    assert node is world.nodes[1]


async def test_the_journal_holds_every_transition_with_the_facts_the_guards_saw(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """When, from, to, event, reason, facts: in the database, in order."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        rows = run.client.history()
        assert [row.target for row in rows] == WALK
        assert [row.source for row in rows] == ["idle", *WALK[:-1]]
        assert json.loads(rows[1].facts_json)["tip"] == 300
        assert rows[0].event == "start"
        assert {row.event for row in rows[1:]} == {"advance"}


async def test_pause_stops_all_work_and_resume_walks_from_the_headers(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A paused client asks nothing; a resumed one begins with the headers, so that it sees what it missed."""
    chain = generate(120, 4)
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        await run.client.pause()
        await run.until("paused")
        sent = run.client.requests.sent
        chain.extend(3)
        await run.settled()
        assert run.client.requests.sent == sent
        await run.client.resume()
        await run.until("synced")
        assert run.client.status.marks.tip == 123
