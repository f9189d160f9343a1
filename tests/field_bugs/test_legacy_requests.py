"""Requests, recovery and peers as a sequential client of others got them wrong: findings A11 and A13 of the list."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.engine import sync
from phasegate.engine.config import Address, Limits
from phasegate.engine.desks import Desk
from phasegate.engine.errors import Failure, FailureKind
from phasegate.engine.seams import Writer
from phasegate.p2p.messages import GetCFilters, GetData, Message
from phasegate.p2p.simnet.lies import Lie
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed
from tests.simulated_world import Tapped, small_chain

if TYPE_CHECKING:
    from phasegate.engine.work import Work
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
SMALL = {**Limits().batch, "filters": 10, "blocks": 1}


def at(port: int) -> Address:
    """The node at `port` of a world, in a network group of its own."""
    return Address(f"127.{port}.0.1", port)


async def most_under_way(run: Run, phase: str) -> tuple[int, int]:
    """While `phase` lasts: the most requests to all peers together, and the most to one."""
    together = alone = 0
    with trio.fail_after(300):
        while run.client.state != "synced":
            views = [
                view for view in run.client._ledger.open_requests() if view.phase == phase and view.sent_at is not None
            ]
            together = max(together, len(views))
            alone = max([alone, *Counter(view.peer for view in views).values()])
            await trio.sleep(0.02)
    return together, alone


# -- A11: bounds on requests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bound", "peers"), [(1, 3), (2, 3), (5, 3), (5, 1)])
@pytest.mark.parametrize("phase", ["filters", "blocks"])
async def test_a11_the_bound_on_requests_under_way_holds_over_the_whole_queue(
    world: World, running: Start, autojump_clock: MockClock, phase: str, bound: int, peers: int
) -> None:
    """Dozens of requests wait for their turn: never more than the bound are out at a time, and as many are."""
    chain = small_chain(300, 5)
    for port in range(1, peers + 1):
        world.add(chain, port, delay=0.3)
    limits = {"batch": SMALL, "concurrency": {phase: bound}}
    config = world.config(*range(1, peers + 1), watch=chain.watch, masternodes=False, limits=limits)
    async with running(config) as run:
        together, _ = await most_under_way(run, phase)
        assert together == bound
        is_complete(run, chain)


async def test_a11_a_bound_for_each_peer_holds_for_each(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Two at a time of each of three peers."""
    chain = small_chain(300, 5)
    for port in (1, 2, 3):
        world.add(chain, port, delay=0.3)
    limits = {"batch": SMALL, "in_flight": {"filters": 2}}
    async with running(world.config(1, 2, 3, watch=chain.watch, masternodes=False, limits=limits)) as run:
        assert await most_under_way(run, "filters") == (6, 2)
        is_complete(run, chain)


async def test_a11_a_rate_is_kept_and_wakes_by_itself(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty-one requests at two a second, and nothing else happens: each leaves on time, in a quarter of a minute."""
    chain, times = small_chain(300, 5), list[float]()
    world.add(chain, 1)
    real: Any = Desk.ask_filters

    async def ask_filters(desk: Desk, peer: Any, message: Message, *rest: Any) -> Any:
        answer = await real(desk, peer, message, *rest)
        times.append(trio.current_time())
        return answer

    monkeypatch.setattr(Desk, "ask_filters", ask_filters)
    limits = {"batch": SMALL, "rate": {"filters": 2.0}, "tick": 1000.0, "steal_after": float("inf")}
    async with running(world.config(1, masternodes=False, limits=limits)) as run:
        with trio.fail_after(60):
            while len(times) < 31:
                await trio.sleep(0.1)
        gaps = [b - a for a, b in pairwise(times)]
        assert sorted(gaps)[1:] == pytest.approx([0.5] * 29, abs=0.01)
        assert times[-1] - times[0] == pytest.approx(14.5, abs=0.1)
        await run.until("synced")


# -- A11: strategies ------------------------------------------------------------------------------------------------


def failing(monkeypatch: pytest.MonkeyPatch, name: str, kind: FailureKind, times: int) -> None:
    """Have the activity of a phase fail so many times for one reason, and work then."""
    real, left = getattr(sync, name), [times]

    async def activity(work: Work) -> None:
        if left[0]:
            left[0] -= 1
            await trio.sleep(0.1)
            raise Failure(kind, "as the test wants")
        await real(work)

    monkeypatch.setattr(sync, name, activity)


async def test_a11_another_peer_is_really_taken(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks phase stalls with the first peer: its connection is ended, and the next one is asked."""
    chain = small_chain(300, 5)
    world.nodes = {1: (first := Tapped(chain)), 2: (second := Tapped(chain))}
    failing(monkeypatch, "download_blocks", FailureKind.STALLED, 1)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("blocks")
        before = run.client.peers
        assert [peer.address.port for peer in before] == [1, 2]
        await run.until("synced")
        assert run.path[5:7] == ["switching", "headers"]
        assert (before[0].gone, before[1].gone) == ("another peer is tried", "")
        counts = [sum(isinstance(told, GetData) for told in node.taken) for node in (first, second)]
        assert counts[1] > 0
        is_complete(run, chain)
        nobody_is_blamed(run)


async def test_a11_a_restart_reads_the_store_again_and_keeps_what_is_there(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks in memory that went astray are those of the disk again; no filter that is stored is asked for twice."""
    chain, reloaded = small_chain(300, 5), list[int]()
    world.nodes[1] = tapped = Tapped(chain)
    real = Writer.reload

    async def reload(writer: Writer) -> None:
        await real(writer)
        reloaded.append(writer.marks.filters)

    monkeypatch.setattr(Writer, "reload", reload)
    failing(monkeypatch, "download_blocks", FailureKind.DISPUTED, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        assert run.path == [*WALK[:5], "restarting", *WALK]
        assert reloaded == [300]
        asked = [told.start_height for told in tapped.taken if isinstance(told, GetCFilters)]
        assert len(asked) == len(set(asked))
        is_complete(run, chain)


async def test_a11_the_network_is_waited_for(world: World, running: Start, autojump_clock: MockClock) -> None:
    """In every phase in turn everybody is gone: each time the client waits, with a reason, and goes on by itself."""
    chain = small_chain(300, 5)
    node = world.add(chain, 1, delay=0.5)
    async with running(world.config(1, watch=chain.watch)) as run:
        for phase in WALK[:5]:
            await run.until(phase)
            world.nodes.clear()
            await world.cut(1)
            await run.until("waiting", within=60)
            assert run.client.status.reason
            await trio.sleep(30)
            assert run.client.state == "waiting"
            world.nodes[1] = node
            with trio.fail_after(60):
                while run.client.state == "waiting":
                    await trio.sleep(0.05)
        await run.until("synced", within=60)
        is_complete(run, chain)


async def test_a11_a_retry_waits_longer_each_time(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three connections are lost in a row: three back-offs, each longer than half the next, and then it works."""
    chain = small_chain(300, 5)
    world.add(chain, 1)
    failing(monkeypatch, "download_filters", FailureKind.PEER_LOST, 3)
    async with running(world.config(1, watch=chain.watch, limits={"backoff_first": 4.0})) as run:
        await run.until("synced")
        rows = run.client.history()
        waits = [after.time - row.time for row, after in pairwise(rows) if row.target == "backoff"]
        assert len(waits) == 3
        for number, wait in enumerate(waits):
            assert 2.0 * 2**number <= wait <= 4.0 * 2**number + 0.1
        is_complete(run, chain)


# -- A13: who is asked, and what counts -----------------------------------------------------------------------------


async def test_a13_filters_are_asked_of_all_peers(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Of four that serve them each gets its share, and each is asked what it says the filter headers are."""
    chain = small_chain(300, 5)
    nodes = [Tapped(chain) for _ in range(4)]
    for node in nodes:
        node.delay = 0.2
    world.nodes = dict(enumerate(nodes, 1))
    limits = {"batch": SMALL, "in_flight": {"filters": 2}}
    async with running(world.config(1, 2, 3, 4, watch=chain.watch, masternodes=False, limits=limits)) as run:
        await run.until("synced")
        shares = [sum(isinstance(told, GetCFilters) for told in node.taken) for node in nodes]
        assert min(shares) >= 4
        assert sum(shares) >= 30
        asked = [{told.command for told in node.taken} & {"getcfheaders", "getcfcheckpt"} for node in nodes]
        assert all(asked)
        is_complete(run, chain)


@pytest.mark.parametrize("most", [1, 2, 5, 8])
async def test_a13_as_many_peers_are_had_as_are_configured(
    world: World, running: Start, autojump_clock: MockClock, most: int
) -> None:
    """Twelve are known: the configured number is connected to, not a number of our own, and it stays so."""
    chain = small_chain(120, 5)
    for port in range(1, 13):
        world.add(chain, port)
    seeds = tuple(str(at(port)) for port in range(1, 13))
    limits = {"max_peers": most}
    async with running(world.config(connect_only=False, dns_seeds=seeds, limits=limits)) as run:
        await run.until("synced")
        await trio.sleep(120)
        for _ in range(100):
            await trio.sleep(1)
            assert len(run.client.peers) == most


PENALISED = {
    "wrong-pow": "bad-proof-of-work",
    "wrong-difficulty": "bad-difficulty",
    "broken-link": "broken-header-link",
    "wrong-filter-header": "bad-filter-header",
    "wrong-filter": "bad-filter",
    "wrong-masternode-entry@300": "bad-masternode-root",
    "wrong-merkle-proof@300": "bad-merkle-proof",
    "wrong-quorum@300": "bad-quorum-root",
    "wrong-block-body@5": "bad-block-merkle-root",
}


@pytest.mark.parametrize("kind", PENALISED)
async def test_a13_who_lies_is_scored_and_banned(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """Bad headers, filters, lists and blocks alike: the score is on the record, and no connection is made again."""
    chain = small_chain(300, 5)
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    world.add(chain, 2, delay=0.3)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced", within=120)
        await trio.sleep(60)
        ban = run.client._pool.banned[Address("node", 1)]
        assert ban.reason in run.warnings
        assert ban.until > run.client._work.seams.now() + 80_000
        assert [port for port, _ in world.connections].count(1) <= 2
        assert [peer.address.port for peer in run.client.peers] == [2]
        is_complete(run, chain)
        assert ban.reason == PENALISED[kind]


async def test_a13_small_offences_add_up_and_are_forgiven_with_time(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """One does not cost the address, several in a row do; with hours between them they do not."""
    chain = small_chain(120, 5)
    world.add(chain, 1)
    async with running(world.config(1, limits={"forgive_time": 60.0})) as run:
        await run.until("synced")
        for pause, banned in ((600.0, False), (1.0, True)):
            for _ in range(3):
                with trio.fail_after(300):
                    while not run.client.peers and not run.client._pool.banned:
                        await trio.sleep(0.1)
                if run.client.peers:
                    run.client._pool.ban(run.client.peers[0], PeerMisbehaved(Fault.FLOODING, "as the test wants"))
                await trio.sleep(pause)
            assert bool(run.client._pool.banned) == banned


async def test_a13_a_peer_that_keeps_others_waiting_is_asked_last(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The configured order is that of the first questions only: who was silent comes after who was not."""
    chain = small_chain(120, 5)
    world.add(chain, 1)
    world.add(chain, 2)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        assert [peer.address.port for peer in run.client._work.chain_peers()] == [1, 2]
        run.client._work.live.silent[Address("node", 1)] += 1
        assert [peer.address.port for peer in run.client._work.chain_peers()] == [2, 1]
