"""The pool: everyone connected at once, the lost tried again, the liars banned, every message where it belongs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, cast

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import MAINNET, SIMNET
from phasegate.consensus.x11 import x11
from phasegate.engine.config import Address, Config, Limits
from phasegate.engine.locks import LOOKED_AT, Locks
from phasegate.engine.peers import Peer
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Ledger, Tally
from phasegate.engine.seams import compute_inline, inline_seams
from phasegate.p2p.connection import PIECE, Connection
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import (
    CFHeaders,
    ClSig,
    GetHeaders,
    Headers,
    Inv,
    InvItem,
    InvType,
    Message,
    NotFound,
    Services,
    Verack,
    Version,
)

ANY = Version(70240, Services.NETWORK, 1_800_000_000, user_agent="/node/", start_height=10)
KNOWN = bytes(31) + b"\1"
ALONE = "no others are searched for (connect-only)"
LIE = PeerMisbehaved(Fault.BAD_FILTER, "height 5: does not fit")


@attrs.define
class Node:
    """What a scripted node greets with, and its connections so far, newest last."""

    version: Version = ANY
    magic: bytes = SIMNET.magic
    lines: list[Connection] = attrs.field(factory=list)
    times: list[float] = attrs.field(factory=list)

    async def serve(self, stream: trio.abc.Stream) -> None:
        line = Connection(stream, self.magic, compute=compute_inline)
        self.lines.append(line)
        await line.send(self.version)
        await line.send(Verack())

    async def say(self, message: Message) -> None:
        """On the newest connection."""
        await self.lines[-1].send(message)
        await trio.testing.wait_all_tasks_blocked()

    async def hang_up(self) -> None:
        await self.lines[-1].aclose()


@attrs.define
class World:
    """Scripted nodes by port, the pool that connects to them, and what it told."""

    nodes: dict[int, Node]
    pool: Pool
    ledger: Ledger
    hints: list[int] = attrs.field(factory=list)
    warnings: list[tuple[str, str]] = attrs.field(factory=list)
    locks: Locks = attrs.field(factory=Locks)
    changes: int = 0

    @property
    def ready(self) -> list[int]:
        return [peer.address.port for peer in self.pool.ready]

    def peer(self, port: int) -> Peer:
        return next(peer for peer in self.pool.ready if peer.address.port == port)

    def changed(self) -> None:
        self.changes += 1


def address(port: int) -> Address:
    return Address("node", port)


def build(nodes: dict[int, Node], ports: tuple[int, ...], limits: Limits) -> World:
    async def opens(host: str, port: int, /) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if port not in nodes:
            raise ConnectionRefusedError("connection refused")
        near, far = trio.testing.memory_stream_pair()
        nodes[port].times.append(trio.current_time())
        await nodes[port].serve(far)
        return near

    ledger, locks = Ledger(), Locks()
    pool = Pool(
        Config(SIMNET, peers=tuple(map(address, ports)), connect_only=True, limits=limits),
        inline_seams(5, opens, now=lambda: 1_800_000_000.0 + trio.current_time()),
        ledger,
        known=lambda block: block == KNOWN,
        our_height=lambda: 3,
        on_hint=lambda peer: world.hints.append(peer.address.port),
        on_change=lambda: world.changed(),
        warn=lambda code, message: world.warnings.append((code, message)),
        locks=locks,
    )
    world = World(nodes, pool, ledger, locks=locks)
    return world


@asynccontextmanager
async def running(nodes: dict[int, Node], *more_ports: int, limits: Limits | None = None) -> AsyncIterator[World]:
    """A running pool that is configured with the nodes' ports and some more; settled before the body begins."""
    world = build(nodes, (*nodes, *more_ports), limits or Limits())
    async with trio.open_nursery() as nursery:
        await nursery.start(world.pool.run)
        await trio.testing.wait_all_tasks_blocked()
        yield world
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_all_configured_addresses_are_connected_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """No virtual second passes before all are ready; an address that refuses is no obstacle."""
    start = trio.current_time()
    async with running({1: Node(), 2: Node(), 3: Node()}, 9) as world:
        assert sorted(world.ready) == [1, 2, 3]
        assert trio.current_time() == start
        assert world.warnings == [("peer-lost", "peer node:9: connection refused")]


@pytest.mark.trio
async def test_no_more_than_max_peers_are_asked(autojump_clock: trio.testing.MockClock) -> None:
    """The others stay connected and move up when one is lost."""
    async with running({n: Node() for n in range(1, 6)}, limits=Limits(max_peers=3)) as world:
        assert len(world.pool.ready) == 3
        waiting = set(world.nodes) - set(world.ready)
        world.pool.drop(world.pool.ready[0], "slow")
        assert len(world.pool.ready) == 3
        assert waiting & set(world.ready)


@pytest.mark.trio
async def test_a_lost_peer_is_tried_again_with_growing_delays(autojump_clock: trio.testing.MockClock) -> None:
    """A node that is down is asked about twice as rarely each time, up to the cap; when it is back, it is found."""
    limits = Limits(reconnect_first=1.0, reconnect_cap=8.0)
    tried: list[float] = []
    nodes: dict[int, Node] = {}
    world = build(nodes, (1,), limits)
    world.pool._on_change = lambda: tried.append(trio.current_time())
    async with trio.open_nursery() as nursery:
        await nursery.start(world.pool.run)
        await trio.sleep(60)
        times = sorted(set(tried))
        gaps = [after - before for before, after in pairwise(times)]
        for gap, ceiling in zip(gaps, (1.0, 2.0, 4.0, 8.0, 8.0, 8.0), strict=False):
            assert ceiling / 2 <= gap <= ceiling
        assert len(gaps) >= 6
        nodes[1] = Node()
        await trio.sleep(9)
        assert world.ready == [1]
        nursery.cancel_scope.cancel()
    assert world.warnings == [("peer-lost", "peer node:1: connection refused")]  # said once, not each time


@pytest.mark.trio
async def test_a_node_that_comes_and_goes_starts_with_the_short_delay(autojump_clock: trio.testing.MockClock) -> None:
    """Having answered something, it is tried again soon, however often it was lost."""
    limits = Limits(reconnect_first=1.0)
    async with running({1: Node()}, limits=limits) as world:
        for _ in range(5):
            world.pool.ready[0].answers += 1
            await world.nodes[1].hang_up()
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            await world.pool.wait_ready()
            assert 0.5 <= trio.current_time() - start <= 1.0


@pytest.mark.trio
async def test_a_node_that_only_shakes_hands_is_tried_more_and_more_rarely(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node that hangs up after each handshake does not get a connection twice a second for ever."""
    async with running({1: Node()}, limits=Limits(reconnect_first=1.0, reconnect_cap=60.0)) as world:
        for attempt in range(1, 6):
            await world.nodes[1].hang_up()
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            await world.pool.wait_ready()
            assert 2.0 ** (attempt - 1) / 2 <= trio.current_time() - start <= 2.0 ** (attempt - 1)


@pytest.mark.trio
async def test_reconnect_now_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    """When the network is back, every delay is cut short."""
    nodes: dict[int, Node] = {}
    async with running(nodes, 1, 2, limits=Limits(reconnect_first=600.0, reconnect_cap=600.0)) as world:
        nodes.update({1: Node(), 2: Node()})
        start = trio.current_time()
        world.pool.reconnect_now()
        await world.pool.wait_ready(lambda peer: peer.address.port == 2)
        assert trio.current_time() == start


@pytest.mark.trio
async def test_a_ban_lasts_its_time(autojump_clock: trio.testing.MockClock) -> None:
    """Dropped at once, with the reason told; its address is not connected to again before the ban is over."""
    day = 24 * 3600.0
    async with running({1: Node(), 2: Node()}, limits=Limits(ping_interval=1e9, ban_time=7 * day)) as world:
        liar = world.peer(1)
        world.pool.ban(liar, LIE)
        assert world.ready == [2]
        assert liar.gone == str(LIE)
        await trio.sleep(6 * day)
        world.pool.reconnect_now()
        await trio.sleep(3600)
        assert (world.ready, len(world.nodes[1].times)) == ([2], 1)
        assert {at: str(ban) for at, ban in world.pool.banned.items()} == {address(1): str(LIE)}
        assert world.warnings == [("bad-filter", "peer node:1 banned: height 5: does not fit")]
        assert not world.pool.hopeless
        await trio.sleep(day)
        assert (world.ready, len(world.nodes[1].times)) == ([1, 2], 2)
        assert not world.pool.banned


@pytest.mark.trio
async def test_when_all_are_banned_there_is_no_hope(autojump_clock: trio.testing.MockClock) -> None:
    """And the reasons are said, address by address."""
    async with running({1: Node(), 2: Node()}) as world:
        for peer in world.pool.ready:
            world.pool.ban(peer, LIE)
        await trio.testing.wait_all_tasks_blocked()
        assert world.pool.hopeless == f"node:1: {LIE}; node:2: {LIE}; {ALONE}"
        assert world.pool.trouble == world.pool.hopeless


@pytest.mark.trio
async def test_a_node_of_another_network_is_banned(autojump_clock: trio.testing.MockClock) -> None:
    """Its magic says so; there is no use in trying again."""
    async with running({1: Node(magic=MAINNET.magic)}) as world:
        await trio.sleep(3600)
        assert world.pool.banned[address(1)].reason == Fault.WRONG_NETWORK.code
        assert len(world.nodes[1].times) == 1
        assert world.warnings[0][0] == "wrong-network"
        assert "the magic of mainnet" in world.pool.hopeless


@pytest.mark.trio
async def test_an_old_node_is_refused_not_banned(autojump_clock: trio.testing.MockClock) -> None:
    """It may be upgraded while we run: the reason is told once, and it is tried again now and then."""
    node = Node(attrs.evolve(ANY, version=70229))
    reason = "peer speaks protocol 70229, we need 70230 or newer"
    async with running({1: node}) as world:
        await trio.sleep(600)
        assert world.warnings == [("peer-refused", f"peer node:1: {reason}")]
        assert (world.ready, world.pool.banned) == ([], {})
        assert world.pool.trouble == f"node:1: {reason}; {ALONE}"
        assert 5 < len(node.times) < 30
        node.version = ANY
        await trio.sleep(61)
        assert world.ready == [1]


@pytest.mark.trio
async def test_first_contact_is_a_ready_peer_or_the_failure_of_all(autojump_clock: trio.testing.MockClock) -> None:
    """Nobody waits for the slowest address, nor forever for addresses that refuse."""
    with trio.fail_after(1):
        async with running({1: Node()}, 9) as world:
            await world.pool.first_contact()
            assert world.ready == [1]
        async with running({}, 8, 9) as world:
            await world.pool.first_contact()
            assert world.ready == []


@pytest.mark.trio
async def test_without_addresses_there_is_nothing_to_wait_for(autojump_clock: trio.testing.MockClock) -> None:
    """The trouble is named."""
    async with running({}) as world:
        await world.pool.first_contact()
        assert world.pool.trouble == f"no peer is configured; {ALONE}"
        assert not world.pool.hopeless


def inv(*hashes: bytes, kind: InvType = InvType.BLOCK) -> Inv:
    return Inv(tuple(InvItem(kind, block) for block in hashes))


@pytest.mark.trio
@pytest.mark.parametrize(
    ("message", "hinted"),
    [
        (inv(KNOWN), False),
        (inv(bytes(32)), True),
        (inv(KNOWN, bytes(32)), True),
        (inv(bytes(32), kind=InvType.TX), False),
        (inv(), False),
        (Headers(b"\7" * 80), True),
        (Headers(b""), False),
    ],
    ids=["known block", "new block", "one of two new", "transaction", "empty inv", "new header", "no header"],
)
async def test_only_the_announcement_of_an_unknown_block_is_a_hint(
    message: Message, hinted: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """By inv and by headers alike (field-bugs 48); nothing is stored for it."""
    async with running({1: Node(), 2: Node()}) as world:
        await world.nodes[2].say(message)
        assert world.hints == [2] * hinted


@pytest.mark.trio
async def test_a_header_that_is_stored_is_no_hint(autojump_clock: trio.testing.MockClock) -> None:
    """Three peers announcing the same block lead to one walk, not three (field-bugs 4)."""
    async with running({1: Node()}) as world:
        world.pool._known = lambda block: block == x11(b"\7" * 80)
        await world.nodes[1].say(Headers(b"\7" * 80))
        assert world.hints == []
        assert world.ledger.tally == Tally(unasked=1)


@pytest.mark.trio
async def test_answers_nobody_asked_for_are_dropped_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    """They harm nobody, and the peer stays."""
    async with running({1: Node()}) as world:
        await world.nodes[1].say(CFHeaders(0, bytes(32), bytes(32), b""))
        await world.nodes[1].say(NotFound((InvItem(InvType.BLOCK, bytes(32)),)))
        assert (world.ledger.tally, world.ready, world.hints) == (Tally(unasked=2), [1], [])


@pytest.mark.trio
async def test_an_answer_reaches_its_request_and_hints_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Headers that were asked for are no announcement."""
    async with running({1: Node(), 2: Node()}) as world:
        with world.ledger.desk("headers", 1, 10.0) as desk:
            async with trio.open_nursery() as nursery:

                async def answer() -> None:
                    await trio.testing.wait_all_tasks_blocked()
                    await world.nodes[1].say(Headers(b"\7" * 80))

                nursery.start_soon(answer)
                request = GetHeaders(70240, (bytes(32),), bytes(32))
                assert await desk.ask(world.peer(1), request, Headers, lambda _: True) == Headers(b"\7" * 80)
        assert (world.hints, world.ledger.tally) == ([], Tally(sent=1, answered=1))


@pytest.mark.trio
@pytest.mark.parametrize("how", ["hang up", "drop", "ban"])
async def test_whoever_waits_for_a_lost_peer_is_told(how: str, autojump_clock: trio.testing.MockClock) -> None:
    """At once, not after the idle timeout."""
    async with running({1: Node()}) as world:
        start, peer = trio.current_time(), world.peer(1)
        ends: dict[str, Callable[[], Awaitable[None]]] = {
            "hang up": world.nodes[1].hang_up,
            "drop": lambda: _at_once(lambda: world.pool.drop(peer, "of no use")),
            "ban": lambda: _at_once(lambda: world.pool.ban(peer, LIE)),
        }
        with (
            world.ledger.desk("headers", 1, 10.0) as desk,
            pytest.RaisesGroup(pytest.RaisesExc(Exception, match="^node:1: ")),
        ):
            async with trio.open_nursery() as nursery:
                request = GetHeaders(70240, (bytes(32),), bytes(32))
                nursery.start_soon(desk.ask, peer, request, Headers, lambda _: True)
                await trio.testing.wait_all_tasks_blocked()
                await ends[how]()
        assert trio.current_time() == start
        assert world.ready == []


async def _at_once(act: Callable[[], None]) -> None:
    await trio.lowlevel.checkpoint()
    act()


@pytest.mark.trio
async def test_a_silent_peer_is_tried_later_and_later(autojump_clock: trio.testing.MockClock) -> None:
    """Silence is no offence, but who never answers does not get every second turn; one answer wipes it out."""
    node = Node()
    limits = Limits(idle_timeout=10.0, reconnect_first=0.1, reconnect_cap=60.0)
    async with running({1: node}, limits=limits) as world:
        for _ in range(4):
            await world.pool.wait_ready()
            world.pool.drop(world.peer(1), "silent", silent=True)
        peer = await world.pool.wait_ready()
        gaps = [after - before for before, after in pairwise(node.times)]
        for gap, ceiling in zip(gaps, (10.0, 20.0, 40.0, 60.0), strict=True):
            assert ceiling / 2 <= gap <= ceiling
        assert world.pool.banned == {}
        peer.answers = 1
        world.pool.drop(peer, "silent", silent=True)
        await trio.sleep(0.2)
        assert world.ready == [1]


@pytest.mark.trio
async def test_every_change_of_the_ready_peers_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """Joined, dropped, lost; and who waits for a change wakes up."""
    async with running({1: Node(), 2: Node()}) as world:
        assert world.changes == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.pool.changed)
            await trio.testing.wait_all_tasks_blocked()
            world.pool.drop(world.peer(1), "of no use")
        assert world.changes > 2
        await world.nodes[2].hang_up()
        await trio.testing.wait_all_tasks_blocked()
        assert world.ready == []


@pytest.mark.trio
async def test_waiting_for_a_capable_peer_ignores_the_others(autojump_clock: trio.testing.MockClock) -> None:
    """Until one that serves filters is there (field-bugs 20)."""
    able = Node(attrs.evolve(ANY, services=Services.NETWORK | Services.COMPACT_FILTERS))
    nodes = {1: Node()}
    async with running(nodes, 2, limits=Limits(reconnect_first=5.0)) as world:
        with trio.move_on_after(1) as waiting:
            await world.pool.wait_ready(lambda peer: peer.serves_filters)
        assert waiting.cancelled_caught
        nodes[2] = able
        peer = await world.pool.wait_ready(lambda peer: peer.serves_filters)
        assert peer.address == address(2)


@pytest.mark.trio
async def test_a_peer_that_lied_is_not_heard_any_more(autojump_clock: trio.testing.MockClock) -> None:
    """What it had sent before it was dropped reaches nobody."""
    async with running({1: Node()}) as world:
        await world.nodes[1].lines[-1].send(inv(bytes(32)))
        world.pool.ban(world.peer(1), LIE)
        await trio.testing.wait_all_tasks_blocked()
        assert world.hints == []


@pytest.mark.trio
async def test_a_cancelled_pool_leaves_no_connection_open(autojump_clock: trio.testing.MockClock) -> None:
    """Each node sees the end of its stream."""
    async with running({1: Node(), 2: Node()}) as world:
        assert world.ready == [1, 2]
    for node in world.nodes.values():
        stream = node.lines[-1]._stream
        with trio.move_on_after(1) as patience:
            while await stream.receive_some():
                pass
        assert not patience.cancelled_caught


LOCK = ClSig(7, KNOWN, b"\x01" * 96)


def announcement(*locks: ClSig) -> Inv:
    return Inv(tuple([InvItem(InvType.CHAINLOCK, lock.inventory_hash) for lock in locks]))


@pytest.mark.trio
async def test_announced_locks_go_to_where_they_are_fetched(autojump_clock: trio.testing.MockClock) -> None:
    """Of everything announced only ChainLocks and InstantSend locks are noted, each once."""
    node = Node()
    async with running({1: node}) as world:
        kinds = [*InvType, 99]
        await node.say(Inv(tuple([InvItem(kind, bytes([kind]) * 32) for kind in kinds])))
        await node.say(announcement(LOCK))
        await node.say(announcement(LOCK))
        assert len(world.locks.offers) == 3
        taken = world.locks.offers.take()
        assert taken is not None
        assert (taken[0], taken[1][0]) == (world.peer(1), InvItem(InvType.CHAINLOCK, b"\x1d" * 32))
        assert {item.type for item in taken[1]} == {InvType.CHAINLOCK, InvType.INSTANTSEND_LOCK}


@pytest.mark.trio
async def test_only_the_newest_of_a_long_announcement_are_noted(autojump_clock: trio.testing.MockClock) -> None:
    """Work and memory for one message are bounded."""
    node = Node()
    async with running({1: node}) as world:
        await node.say(announcement(*[attrs.evolve(LOCK, height=height) for height in range(3 * LOOKED_AT)]))
        assert len(world.locks.offers) == LOOKED_AT
        taken = world.locks.offers.take()
        assert taken is not None
        assert taken[1][0].hash == attrs.evolve(LOCK, height=2 * LOOKED_AT).inventory_hash


@pytest.mark.trio
async def test_a_lock_sent_unasked_is_queued_and_not_punished(autojump_clock: trio.testing.MockClock) -> None:
    """It is as good as one that was asked for; sent again it changes nothing, and announced it is not fetched."""
    node = Node()
    async with running({1: node}) as world:
        await node.say(LOCK)
        await node.say(LOCK)
        await node.say(announcement(LOCK))
        assert (len(world.locks.queue), len(world.locks.offers), world.hints) == (1, 0, [])
        assert world.ledger.tally.unasked == 0
        assert world.ready == [1]


@pytest.mark.trio
async def test_a_chainlock_of_an_unknown_block_is_a_hint(autojump_clock: trio.testing.MockClock) -> None:
    """Whether it was asked for or not: the peer has a block that is not stored."""
    node = Node()
    lock = ClSig(8, bytes(32), LOCK.signature)
    async with running({1: node}) as world:
        await node.say(lock)
        assert world.hints == [1]


@pytest.mark.trio
@pytest.mark.parametrize("how", ["drop", "hang up"])
async def test_a_lie_that_is_still_being_read_when_the_peer_is_left_counts(
    how: str, autojump_clock: trio.testing.MockClock
) -> None:
    """To read a large message takes a thread, which nothing can cancel: its failure is the peer's, not the pool's."""
    world = build({1: Node(), 2: Node()}, (1, 2), Limits())

    async def slowly(fn: Callable[..., Any], /, *args: Any) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        return fn(*args)

    world.pool.outbound._context = attrs.evolve(
        world.pool.outbound._context, seams=attrs.evolve(world.pool._seams, compute=cast(Any, slowly))
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(world.pool.run)
        await trio.testing.wait_all_tasks_blocked()
        liar = world.peer(1)
        frame = encode_frame(SIMNET.magic, "block", bytes(2 * PIECE))
        nursery.start_soon(world.nodes[1].lines[-1]._stream.send_all, frame)
        await trio.sleep(1)
        if how == "drop":
            world.pool.drop(liar, "too slow")
        else:
            await world.nodes[1].hang_up()
        await trio.sleep(10)
        assert world.ready == [2]
        assert [ban.reason for ban in world.pool.banned.values()] == ["malformed-message"]
        nursery.cancel_scope.cancel()
