"""Peers that are missing, slow, dead or quiet: what went wrong in the field, by the numbers of the list."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.engine import seeding
from phasegate.engine.config import Address, Config
from phasegate.engine.events import Lagged, Transition
from phasegate.engine.seams import Resolve, inline_seams
from phasegate.p2p.address_forms import to_v2
from phasegate.p2p.messages import GetHeaders2, Message, Ping, Pong, Services
from phasegate.p2p.simnet.answers import Answer, Punished
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from tests import simulated_world
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed, same_as_fresh
from tests.field_bugs.uneven_lines import Uneven
from tests.simulated_world import START, Tapped, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

PLAIN = Identity(services=SERVICES & ~Services.COMPACT_FILTERS)
UNCOMPRESSED = Identity(services=SERVICES & ~Services.HEADERS_COMPRESSED)
WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
HOUR = 3600.0


def at(port: int) -> Address:
    """The node at `port` of a world, in a network group of its own."""
    return Address(f"127.{port}.0.1", port)


# -- 20: nobody has what is lacking ---------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False])
async def test_20_the_search_for_filters_is_visible_and_ends_with_the_first_who_has_them(
    world: World, running: Start, autojump_clock: MockClock, told: bool
) -> None:
    """An hour with a peer that lacks them: degraded, searching, never synced; then one appears, known or told of."""
    chain = small_chain(120, 5)
    node = world.add(chain, 1, identity=PLAIN)
    seeds = [str(at(1))] if told else [str(at(1)), str(at(2))]
    async with running(world.config(connect_only=False, dns_seeds=tuple(seeds), watch=chain.watch)) as run:
        await run.until("degraded")
        assert "compact filters" in run.client.status.reason
        await trio.sleep(HOUR)
        assert (run.client.state, "synced" in run.path) == ("degraded", False)
        assert "searching for a peer that serves compact filters" in run.client.status.search
        assert run.client.status.marks.masternodes == chain.height
        assert run.client.requests.sent < 200
        world.add(chain, 2)
        if told:
            record = to_v2(at(2), int(START + trio.current_time()), int(SERVICES))
            assert record is not None
            await node.gossip([record])
        await run.until("synced", within=10)
        assert run.client.status.search == ""
        is_complete(run, chain)


# -- 45: silence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [True, False])
async def test_45_an_hour_of_silence_is_no_offence(
    world: World, running: Start, autojump_clock: MockClock, alone: bool
) -> None:
    """No block, no word: the same three connections, a ping each two minutes, nobody banned, nothing asked."""
    chain = small_chain(120, 5)
    nodes = [Tapped(chain) for _ in range(3)]
    world.nodes = dict(enumerate(nodes, 1))
    config = world.config(1, 2, 3) if alone else _searching(world)
    async with running(config) as run:
        await run.until("synced")
        while len(run.client.peers) < 3:
            await trio.sleep(1)
        await trio.sleep(10)
        path, sent, told = run.path, run.client.requests.sent, len(run.told)
        before, connections = [len(node.taken) for node in nodes], len(world.connections)
        await trio.sleep(HOUR)
        assert (run.client.state, run.path) == ("synced", path)
        assert (run.client.requests.sent, len(run.told)) == (sent, told)
        assert len(run.client.peers) == 3
        assert len(world.connections) == connections == 3
        for node, count in zip(nodes, before, strict=True):
            since = Counter(type(message) for message in node.taken[count:])
            assert set(since) == {Ping, Pong}
            assert abs(since[Ping] - HOUR / 120) <= 1
            assert abs(since[Pong] - HOUR / 120) <= 1
        nobody_is_blamed(run)


def _searching(world: World) -> Config:
    """A client that searches for peers, and finds three."""
    seeds = tuple(str(at(port)) for port in (1, 2, 3))
    return world.config(connect_only=False, dns_seeds=seeds, limits={"max_peers": 3, "filter_peers": 3})


async def test_45_a_tip_that_gets_old_is_asked_about_and_no_more(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Where blocks ought to come, an hour without one makes every peer be asked each half hour."""
    chain = small_chain(120, 5)
    nodes = [Tapped(chain) for _ in range(3)]
    world.nodes = dict(enumerate(nodes, 1))
    async with running(world.config(1, 2, 3, max_tip_age=1e9)) as run:
        await run.until("synced")
        await trio.sleep(10)
        before = [len(node.taken) for node in nodes]
        await trio.sleep(HOUR)
        assert run.client.state == "synced"
        assert len(world.connections) == 3
        assert run.warnings == ["stale-tip"] * 2
        for node, count in zip(nodes, before, strict=True):
            since = Counter(type(message) for message in node.taken[count:])
            assert since[GetHeaders2] == 2
            assert since.total() - since[Ping] - since[Pong] <= 8
        nobody_is_blamed(run)


# -- 46: failures that are never forgotten, one slow peer -----------------------------------------------------------


async def test_46_failed_attempts_are_bounded_and_forgotten(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead address is tried ever more rarely beside a good one; when it lives it is found, and is as new then."""
    chain, tried = small_chain(120, 5), list[float]()
    opens = world.open_stream

    async def counting(host: str, port: int, /) -> trio.abc.Stream:
        if port == 2:
            tried.append(trio.current_time())
        return await opens(host, port)

    monkeypatch.setattr(world, "open_stream", counting)
    world.add(chain, 1)
    async with running(world.config(1, 2)) as run:
        await run.until("synced", within=5)
        await trio.sleep(HOUR)
        assert HOUR / 60 <= len(tried) <= HOUR / 30 + 10
        world.add(chain, 2)
        await _until(lambda: len(run.client.peers) == 2, within=60)
        await trio.sleep(5)
        tried.clear()
        await world.cut(2)
        await _until(lambda: len(run.client.peers) == 1, within=1)
        await _until(lambda: len(run.client.peers) == 2, within=1)
        assert len(tried) == 1
        nobody_is_blamed(run)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("pause", [5.0, 300.0])
async def test_46_one_slow_peer_stalls_nobody(
    world: World, running: Start, autojump_clock: MockClock, pause: float, first: bool
) -> None:
    """Each of its messages takes its time, in every phase: with two prompt ones beside it all is done soon."""
    chain = small_chain(120, 5)
    slow = 1 if first else 3
    for port in (1, 2, 3):
        world.add(chain, port)
    world.nodes[slow] = Uneven(chain, lambda command: 0.0 if command in ("version", "verack") else pause)
    async with running(world.config(1, 2, 3, watch=chain.watch)) as run:
        await run.until("synced", within=60)
        is_complete(run, chain)
        nobody_is_blamed(run)


@attrs.define
class HangsUp:
    """Ends the connection instead of sending messages of one name, until it is `mended`."""

    command: str
    mended: bool = False

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        return attrs.evolve(answer, messages=self._messages(answer))

    def _messages(self, answer: Answer) -> Iterator[Message]:
        for message in answer.messages:
            if message.command == self.command and not self.mended:
                raise Punished("hangs up")
            yield message


@pytest.mark.parametrize("command", ["headers", "mnlistdiff", "cfheaders", "cfilter", "block"])
async def test_46_a_peer_that_always_hangs_up_is_retried_within_bounds(
    world: World, running: Start, autojump_clock: MockClock, command: str
) -> None:
    """The only peer ends each connection at the same question: ever more rarely asked, and never given up for good."""
    chain = small_chain(120, 5)
    lie = HangsUp(command)
    world.add(chain, 1, lie=lie, identity=UNCOMPRESSED, locks=False)
    async with running(world.config(1, watch=chain.watch)) as run:
        for _ in range(600):
            await trio.sleep(1)
            assert len(world.connections) < 100
        assert "synced" not in run.path
        lie.mended = True
        await run.until("synced", within=60)
        is_complete(run, chain)


async def _until(holds: Callable[[], bool], within: float) -> None:
    with trio.fail_after(within):
        while not holds():
            await trio.sleep(0.05)


# -- 47: dead seeds -------------------------------------------------------------------------------------------------


async def refused(_host: str, _port: int, /) -> Sequence[str]:
    """A resolver that knows no name."""
    await trio.lowlevel.checkpoint()
    raise OSError(errno.ENOENT, "Name or service not known")


async def mute(_host: str, _port: int, /) -> Sequence[str]:
    """A resolver that never answers."""
    await trio.sleep_forever()
    raise AssertionError


DEAD = ("seed.one.example", "seed.two.example")


@pytest.mark.parametrize("resolve", [refused, mute])
@pytest.mark.parametrize("source", ["stored", "gossip", "built-in"])
async def test_47_without_any_seed_there_are_other_ways_in(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    resolve: Resolve,
) -> None:
    """All DNS seeds are dead: what is stored, what a peer tells of, or what is built in leads to the chain."""
    monkeypatch.setattr(simulated_world, "inline_seams", partial(inline_seams, resolve=resolve))
    chain = small_chain(120, 5)
    network = attrs.evolve(SIMNET, dns_seeds=DEAD)
    lead = world.add(chain, 1, identity=PLAIN if source == "gossip" else Identity())
    if source == "gossip":
        record = to_v2(at(2), int(START), int(SERVICES))
        assert record is not None
        lead.known, lead.share = (record,), 100
        world.add(chain, 2)
    if source == "built-in":
        monkeypatch.setattr(seeding, "built_in", lambda _: (at(1),))
    if source == "stored":
        async with running(world.config(connect_only=False, dns_seeds=(str(at(1)),))) as run:
            await run.until("synced")
            await trio.sleep(70)
    peers = (1,) if source == "gossip" else ()
    async with running(world.config(*peers, network=network, connect_only=False, watch=chain.watch)) as run:
        await run.until("synced", within=60)
        is_complete(run, chain)
        nobody_is_blamed(run)
        await trio.sleep(60)
        named = [seed for seed in DEAD if seed in run.said("seed-silent")]
        assert run.warnings.count("seed-silent") == len(named)
        assert named == ([] if source == "gossip" else list(DEAD))  # a peer that tells of others is enough


# -- 48: announcements ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["inv", "headers", "headers2", "cmpctblock"])
async def test_48_blocks_are_noticed_however_they_are_announced(
    world: World, running: Start, autojump_clock: MockClock, form: str
) -> None:
    """One, eight, a burst of twenty (always an inv, as Core does it), then single ones again: each within seconds."""
    chain = generate(120, 5)
    node = world.add(chain, 1, announce_by=form, locks=False)  # a lock would tell of its block, too
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        for burst in (1, 8, 20, 1, 9, 2):
            chain.extend(burst)
            await node.announce(burst)
            await _until(lambda: run.client.status.marks.filters == chain.height, within=3)
            await run.until("synced", within=1)
        is_complete(run, chain)
        assert run.warnings == []
        await same_as_fresh(world, running, run)


async def test_48_a_slow_event_consumer_stalls_nothing_and_loses_no_data(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """One reads nothing, one an event in ten minutes: the sync is as fast, and what they missed is in the database."""
    chain = generate(120, 5)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        asleep, slow = run.client.events(4), run.client.events(4)
        lazily = list[object]()

        async def read() -> None:
            async for event in slow:
                lazily.append(event)
                await trio.sleep(600)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await run.until("synced", within=5)
            for _ in range(10):
                chain.extend(1)
                await node.announce(1)
                await _until(lambda: run.client.status.marks.filters == chain.height, within=3)
                await run.until("synced", within=1)
            nursery.cancel_scope.cancel()
        is_complete(run, chain)
        assert len(lazily) <= 2
        first = await anext(asleep)
        assert isinstance(first, Lagged)
        assert first.count + 4 >= len(WALK) * 11
        rows = [row.target for row in run.client.history()]
        assert rows == run.path == WALK * 11
        kept = [event for event in [await anext(asleep) for _ in range(4)] if isinstance(event, Transition)]
        assert kept
        assert all(run.client.history(event.row_id - 1)[0].target == event.target for event in kept)
