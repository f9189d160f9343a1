"""One peer, real in all but its wire: a scripted node at the other end of a stream in memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus.faults import Fault
from phasegate.consensus.params import MAINNET, SIMNET
from phasegate.engine.config import Address, Limits
from phasegate.engine.outgoing import MOST_MESSAGES
from phasegate.engine.peers import Peer, PeerContext, reconnect_delay
from phasegate.engine.seams import OpenStream, Seams, compute_inline, inline_seams
from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import (
    GetHeaders,
    Headers,
    Message,
    Ping,
    Pong,
    SendHeaders,
    Services,
    Unknown,
    Verack,
    Version,
)

LIMITS = Limits()
ADDRESS = Address("node", 29899)
VERSION = Version(
    version=70240,
    services=Services.NETWORK | Services.COMPACT_FILTERS,
    time=1_800_000_000,
    nonce=99,
    user_agent="/Dash Core:23.1.0/",
    start_height=1234,
)


class Remote:
    """The scripted node: a connection that sends what the test says and keeps what it receives."""

    def __init__(self, stream: trio.abc.Stream, magic: bytes = SIMNET.magic) -> None:
        self.stream = stream
        self.connection = Connection(stream, magic, compute=compute_inline)

    async def say(self, *messages: Message) -> None:
        for message in messages:
            await self.connection.send(message)

    async def hear(self, kind: type[Message]) -> Message:
        """The next message, which must be of that kind."""
        message = await self.connection.receive()
        assert isinstance(message, kind), message
        return message

    async def greet(self, version: Version = VERSION) -> Version:
        """The whole handshake of an honest node; returns what the client said of itself."""
        theirs = await self.hear(Version)
        assert isinstance(theirs, Version)
        await self.say(version, Verack())
        await self.hear(Verack)
        return theirs


@attrs.define
class Scene:
    """A peer, the node it talks to, and what the pool would have been told."""

    peer: Peer
    remote: Remote
    line: trio.testing.MemorySendStream
    messages: list[Message] = attrs.field(factory=list)
    calls: list[str] = attrs.field(factory=list)
    asked: bool = False

    def keep(self, message: Message) -> bool:
        """As the pool takes it; nothing was asked for, unless the test says so."""
        self.messages.append(message)
        return self.asked


def context(opens: OpenStream, scenes: list[Scene]) -> PeerContext:
    return PeerContext(
        network=SIMNET,
        limits=LIMITS,
        seams=inline_seams(1, opens, now=lambda: 1_800_000_000.5),
        our_height=lambda: 77,
        on_message=lambda _, message: scenes[0].keep(message),
        on_ready=lambda peer: scenes[0].calls.append(f"ready in {peer.state}"),
        on_gone=lambda peer: scenes[0].calls.append(f"gone: {peer.gone}"),
    )


@asynccontextmanager
async def running(opens: OpenStream | None = None) -> AsyncIterator[Scene]:
    """A peer that connects to a remote which the body plays; at the end the peer must have ended."""
    near, far = trio.testing.memory_stream_pair()
    scenes: list[Scene] = []

    async def connect(host: str, port: int) -> trio.abc.Stream:
        assert (host, port) == ("node", 29899)
        return near

    assert isinstance(near.send_stream, trio.testing.MemorySendStream)
    scene = Scene(Peer(ADDRESS, context(opens or connect, scenes)), Remote(far), near.send_stream)
    scenes.append(scene)
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.peer.run)
            yield scene


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.trio
async def test_a_handshake_makes_a_peer_ready(autojump_clock: trio.testing.MockClock) -> None:
    """Version and verack both ways; the pool is told once, and what the node said of itself is kept."""
    async with running() as scene:
        ours = await scene.remote.greet()
        await settle()
        peer = scene.peer
        assert (peer.state, peer.was_ready, peer.gone, scene.calls) == ("ready", True, "", ["ready in ready"])
        assert (peer.start_height, peer.serves_filters) == (1234, True)
        assert (ours.version, ours.start_height, ours.time, ours.relay) == (70240, 77, 1_800_000_000, False)
        peer.leave("enough")
    assert (peer.state, scene.calls[1:], peer.fault) == ("closed", ["gone: enough"], None)
    assert repr(peer) == "<Peer node:29899 closed>"


@pytest.mark.trio
async def test_our_nonce_comes_from_the_injected_randomness(autojump_clock: trio.testing.MockClock) -> None:
    """One seed, one run."""
    async with running() as scene:
        ours = await scene.remote.greet()
        assert ours.nonce == random.Random(1).getrandbits(64)
        scene.peer.leave("")


@pytest.mark.trio
async def test_the_negotiated_version_is_the_lower_one(autojump_clock: trio.testing.MockClock) -> None:
    """Messages are read as a node of that version writes them."""
    async with running() as scene:
        await scene.remote.greet(attrs.evolve(VERSION, version=70235, services=Services.NETWORK))
        await settle()
        assert scene.peer.info is not None
        assert (scene.peer.info.negotiated, scene.peer.serves_filters) == (70235, False)
        scene.peer.leave("")


@pytest.mark.trio
async def test_a_peer_too_old_is_refused_with_the_reason(autojump_clock: trio.testing.MockClock) -> None:
    """Protocol 70229: it did nothing wrong, it never gets ready, and the connection is closed."""
    async with running() as scene:
        await scene.remote.hear(Version)
        await scene.remote.say(attrs.evolve(VERSION, version=70229))
        with pytest.raises(ConnectionLost):
            await scene.remote.connection.receive()
    peer, reason = scene.peer, "peer speaks protocol 70229, we need 70230 or newer"
    assert (peer.refusal, peer.gone, peer.fault, peer.was_ready) == (reason, reason, None, False)
    assert scene.calls == [f"gone: {reason}"]


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (attrs.evolve(VERSION, services=Services.COMPACT_FILTERS), "does not offer NETWORK"),
        (attrs.evolve(VERSION, nonce=random.Random(1).getrandbits(64)), "connected to ourselves"),
    ],
)
@pytest.mark.trio
async def test_who_is_of_no_use_is_refused(
    version: Version, reason: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A node without blocks, and ourselves."""
    async with running() as scene:
        await scene.remote.hear(Version)
        await scene.remote.say(version)
    assert reason in scene.peer.refusal
    assert scene.peer.fault is None


@pytest.mark.trio
async def test_a_node_of_another_network_is_at_fault(autojump_clock: trio.testing.MockClock) -> None:
    """Its frames begin with another magic, and the line says whose."""
    async with running() as scene:
        await scene.remote.hear(Version)
        await Remote(scene.remote.stream, MAINNET.magic).say(VERSION)
    assert scene.peer.fault is not None
    assert scene.peer.fault.fault is Fault.WRONG_NETWORK
    assert "the magic of mainnet" in scene.peer.gone


@pytest.mark.parametrize("said", [0, 1], ids=["nothing at all", "only a version"])
@pytest.mark.trio
async def test_a_handshake_that_stops_times_out(said: int, autojump_clock: trio.testing.MockClock) -> None:
    """Silence is no offence, but it ends."""
    start = trio.current_time()
    async with running() as scene:
        await scene.remote.say(*[VERSION][:said])
    assert trio.current_time() - start == LIMITS.handshake_timeout
    assert (scene.peer.gone, scene.peer.fault) == ("no handshake within 10 s", None)


@pytest.mark.trio
async def test_a_node_that_hangs_up_in_the_handshake_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    """Its reason says so."""
    async with running() as scene:
        await scene.remote.hear(Version)
        await scene.remote.stream.aclose()
    assert "closed the connection" in scene.peer.gone
    assert scene.peer.fault is None


@pytest.mark.trio
async def test_an_address_that_refuses_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    """The operating system's word is the reason; no connection was ever there to close."""

    async def refuse(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError("connection refused")

    async with running(refuse) as scene:
        pass
    peer = scene.peer
    assert (peer.gone, peer.fault, peer.was_ready, peer.bytes_in) == ("connection refused", None, False, 0)


@pytest.mark.trio
async def test_an_address_that_never_answers_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    """Connecting has its own time limit."""

    async def hang(host: str, port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    start = trio.current_time()
    async with running(hang) as scene:
        pass
    assert trio.current_time() - start == LIMITS.connect_timeout
    assert scene.peer.gone == "no connection within 10 s"


@pytest.mark.trio
async def test_messages_go_both_ways_in_order(autojump_clock: trio.testing.MockClock) -> None:
    """What comes in goes to the pool, what goes out arrives as it was queued."""
    async with running() as scene:
        await scene.remote.greet()
        asked = [GetHeaders(70240, (bytes([n]) * 32,), bytes(32)) for n in range(3)]
        for message in asked:
            await scene.peer.send(message)
        assert [await scene.remote.hear(GetHeaders) for _ in asked] == asked
        told: list[Message] = [SendHeaders(), Headers(bytes(80)), Unknown("novelty", b"?")]
        await scene.remote.say(*told)
        await settle()
        assert scene.messages == told
        assert scene.peer.bytes_in == scene.remote.connection.bytes_out
        scene.peer.leave("")


@pytest.mark.trio
async def test_a_ping_is_answered_with_its_nonce(autojump_clock: trio.testing.MockClock) -> None:
    """By the peer itself; the pool does not hear of it."""
    async with running() as scene:
        await scene.remote.greet()
        await scene.remote.say(Ping(42))
        assert await scene.remote.hear(Pong) == Pong(42)
        assert scene.messages == []
        scene.peer.leave("")


@pytest.mark.trio
async def test_a_peer_that_answers_pings_is_kept_for_hours(autojump_clock: trio.testing.MockClock) -> None:
    """An hour of saying nothing else is not misbehaviour (field-bugs 45)."""
    async with running() as scene:
        await scene.remote.greet()
        with trio.move_on_after(3600 * 0.9):
            while True:
                ping = await scene.remote.hear(Ping)
                assert isinstance(ping, Ping)
                await scene.remote.say(Pong(ping.nonce))
        assert (scene.peer.state, scene.peer.gone) == ("ready", "")
        scene.peer.leave("")


@pytest.mark.trio
async def test_no_pong_is_a_lost_connection(autojump_clock: trio.testing.MockClock) -> None:
    """A ping after one interval, and another interval to answer it; nobody's fault."""
    start = trio.current_time()
    async with running() as scene:
        await scene.remote.greet()
        await scene.remote.hear(Ping)
    assert trio.current_time() - start == 2 * LIMITS.ping_interval
    assert (scene.peer.gone, scene.peer.fault) == ("no pong within 120 s", None)
    assert scene.calls == ["ready in ready", "gone: no pong within 120 s"]


@pytest.mark.trio
async def test_a_node_that_hangs_up_is_lost(autojump_clock: trio.testing.MockClock) -> None:
    """While ready: the pool is told with the reason, and nothing crashes."""
    async with running() as scene:
        await scene.remote.greet()
        await settle()
        await scene.remote.stream.aclose()
    assert (scene.peer.gone, scene.peer.state) == ("the peer closed the connection", "closed")
    assert scene.peer.fault is None
    assert scene.calls == ["ready in ready", "gone: the peer closed the connection"]


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (encode_frame(SIMNET.magic, "headers", b"\xfe"), Fault.MALFORMED_MESSAGE),
        (SIMNET.magic + b"headers".ljust(12, b"\0") + b"\xff" * 8, Fault.OVERSIZED_MESSAGE),
        (b"HTTP/1.1 400 Bad Request", Fault.WRONG_NETWORK),
    ],
    ids=["malformed", "oversized", "not Dash at all"],
)
@pytest.mark.trio
async def test_a_message_that_breaks_the_rules_ends_the_connection(
    frame: bytes, fault: Fault, autojump_clock: trio.testing.MockClock
) -> None:
    """The fault is kept for the ban, and nothing of the message goes on."""
    async with running() as scene:
        await scene.remote.greet()
        await scene.remote.stream.send_all(frame)
    assert scene.peer.fault is not None
    assert scene.peer.fault.fault is fault
    assert scene.peer.gone.startswith(fault.code)
    assert scene.messages == []


@pytest.mark.trio
async def test_a_wrong_checksum_only_drops_its_frame(autojump_clock: trio.testing.MockClock) -> None:
    """As dashd does; the next message counts."""
    async with running() as scene:
        await scene.remote.greet()
        damaged = bytearray(encode_frame(SIMNET.magic, "ping", bytes(8)))
        damaged[-1] ^= 1
        await scene.remote.stream.send_all(damaged)
        await scene.remote.say(Ping(5))
        assert await scene.remote.hear(Pong) == Pong(5)
        scene.peer.leave("")


@pytest.mark.trio
async def test_a_peer_that_left_hears_nothing_more(autojump_clock: trio.testing.MockClock) -> None:
    """From the moment of `leave` nothing of it reaches the pool, and the first reason stays."""
    async with running() as scene:
        await scene.remote.greet()
        await settle()
        await scene.remote.say(Headers(bytes(80)))
        scene.peer.leave("it lied")
        scene.peer.leave("another reason")
    assert scene.messages == []
    assert scene.peer.gone == "it lied"
    assert scene.calls == ["ready in ready", "gone: it lied"]


@pytest.mark.trio
async def test_leaving_while_connecting_ends_the_attempt(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever state it is in, a peer can be let go of."""
    async with running() as scene:
        await settle()
        assert scene.peer.state == "handshaking"
        scene.peer.leave("not needed")
    assert (scene.peer.gone, scene.peer.was_ready) == ("not needed", False)


@pytest.mark.trio
async def test_what_waits_to_be_written_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    """A node that does not read makes the sender wait, it does not fill our memory."""
    async with running() as scene:
        await scene.remote.greet()
        await settle()
        scene.line.send_all_hook = trio.sleep_forever
        sent = 0
        with trio.move_on_after(1):
            while True:
                await scene.peer.send(Ping(sent))
                sent += 1
        assert sent == MOST_MESSAGES + 1
        scene.peer.leave("it reads nothing")
    assert scene.peer.state == "closed"


@pytest.mark.trio
async def test_a_cancelled_peer_closes_its_stream(autojump_clock: trio.testing.MockClock) -> None:
    """A client that is cancelled leaves no open connection behind."""
    with trio.CancelScope() as scope:
        async with running() as scene:
            await scene.remote.greet()
            await settle()
            scope.cancel()
    with trio.fail_after(1), pytest.raises(ConnectionLost, match="closed"):
        await scene.remote.connection.receive()


def test_reconnection_delays_grow_to_a_cap() -> None:
    """Each in its half-open half, so that clients do not come back together."""
    seams = Seams(random=random.Random(3))
    delays = [reconnect_delay(attempt, LIMITS, seams) for attempt in range(1, 40)]
    for attempt, delay in enumerate(delays):
        ceiling = min(LIMITS.reconnect_cap, LIMITS.reconnect_first * 2.0**attempt)
        assert ceiling / 2 <= delay <= ceiling
    assert len(set(delays)) == len(delays)
