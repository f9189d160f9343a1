"""A connection over streams in memory: order, loss, cancellation, bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import REGTEST
from phasegate.p2p.connection import PIECE, Connection, ConnectionLost
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.handshake import PROTOCOL_VERSION
from phasegate.p2p.messages import CFilter, GetData, InvItem, Message, Ping, Pong, Unknown

MAGIC = REGTEST.magic
BIG = CFilter(0, bytes(32), bytes(range(256)) * 1024)


async def inline(fn: Callable[..., Any], *args: Any) -> Any:
    """Compute at once, in the event loop."""
    return fn(*args)


class Counting:
    """Computes inline and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, fn: Callable[..., Any], *args: Any) -> Any:
        self.calls += 1
        await trio.lowlevel.checkpoint()
        return fn(*args)


def pair() -> tuple[Connection, trio.testing.MemoryReceiveStream, trio.testing.MemorySendStream]:
    """A connection, what it has sent, and what it will receive."""
    near, far = trio.testing.memory_stream_pair()
    assert isinstance(far.receive_stream, trio.testing.MemoryReceiveStream)
    assert isinstance(far.send_stream, trio.testing.MemorySendStream)
    return Connection(near, MAGIC, compute=inline), far.receive_stream, far.send_stream


def framed(message: Message) -> bytes:
    """The frame of a message at today's version."""
    return encode_frame(MAGIC, message.command, message.to_payload(PROTOCOL_VERSION))


@pytest.mark.trio
async def test_what_one_side_sends_the_other_receives_in_order() -> None:
    """Two connections, back to back, count the same bytes."""
    left, right = trio.testing.lockstep_stream_pair()
    a, b = Connection(left, MAGIC, compute=inline), Connection(right, MAGIC, compute=inline)
    messages: list[Message] = [Ping(1), BIG, Pong(2), Unknown("dsq", b"x")]
    async with trio.open_nursery() as nursery:

        async def send_all() -> None:
            for message in messages:
                await a.send(message)

        nursery.start_soon(send_all)
        assert [await b.receive() for _ in messages] == messages
    assert a.bytes_out == b.bytes_in == sum(len(framed(message)) for message in messages)
    assert a.version == PROTOCOL_VERSION


@pytest.mark.trio
async def test_messages_of_several_tasks_do_not_mix() -> None:
    """Large messages sent at once arrive whole, one after the other."""
    left, right = trio.testing.lockstep_stream_pair()
    a, b = Connection(left, MAGIC, compute=inline), Connection(right, MAGIC, compute=inline)
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(a.send, GetData((InvItem(number, bytes(32)),) * 3000))
        seen = [await b.receive() for _ in range(5)]
    assert {m.items[0].type for m in seen if isinstance(m, GetData)} == set(range(5))


@pytest.mark.trio
async def test_dropped_frames_are_skipped_and_counted() -> None:
    """A damaged frame between two good ones is not seen."""
    connection, _, feed = pair()
    damaged = bytearray(framed(Ping(9)))
    damaged[-1] ^= 1
    await feed.send_all(framed(Ping(1)) + damaged + framed(Ping(2)))
    assert [await connection.receive(), await connection.receive()] == [Ping(1), Ping(2)]
    assert connection.dropped == 1


@pytest.mark.trio
@pytest.mark.parametrize("cut", [0, 1, 23, 24, 31])
async def test_the_end_of_the_stream_is_a_lost_connection(cut: int) -> None:
    """Between frames or inside one, the end is nobody's fault, and stays the end."""
    connection, _, feed = pair()
    await feed.send_all(framed(Ping(1))[:cut])
    await feed.aclose()
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="closed"):
            await connection.receive()


@pytest.mark.trio
async def test_sending_into_a_closed_stream_is_a_lost_connection() -> None:
    """The cause is kept."""
    connection, taken, _ = pair()
    await taken.aclose()
    with pytest.raises(ConnectionLost) as caught:
        await connection.send(Ping(1))
    assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
    assert connection.bytes_out == 0


@pytest.mark.trio
async def test_closing_ends_a_receive_under_way() -> None:
    """Whoever waits learns it as a lost connection, and so does who comes later."""
    connection, _, _ = pair()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(ConnectionLost):
                await connection.receive()

        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        await connection.aclose()
    with pytest.raises(ConnectionLost):
        await connection.receive()
    with pytest.raises(ConnectionLost):
        await connection.send(Ping(1))


@pytest.mark.trio
async def test_only_large_payloads_are_left_to_compute() -> None:
    """64 KiB is the border."""
    near, far = trio.testing.memory_stream_pair()
    compute = Counting()
    connection = Connection(near, MAGIC, compute=compute)
    await far.send_all(framed(Unknown("x", bytes(PIECE))) + framed(Unknown("x", bytes(PIECE + 1))))
    assert await connection.receive() == Unknown("x", bytes(PIECE))
    assert compute.calls == 0
    assert await connection.receive() == Unknown("x", bytes(PIECE + 1))
    assert compute.calls == 1


@pytest.mark.trio
async def test_a_cancelled_receive_loses_no_message(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelled while waiting, inside a frame, or while a large payload is decoded: the next receive has it."""
    near, far = trio.testing.memory_stream_pair()
    gate = trio.Event()

    async def slow(fn: Callable[..., Any], *args: Any) -> Any:
        await gate.wait()
        return fn(*args)

    connection = Connection(near, MAGIC, compute=slow)
    frame = framed(BIG)
    for piece in (b"", frame[:10], frame[10:1000], frame[1000:]):
        if piece:
            await far.send_all(piece)
        with trio.move_on_after(1) as scope:
            await connection.receive()
        assert scope.cancelled_caught
    gate.set()
    assert await connection.receive() == BIG


@pytest.mark.trio
async def test_after_a_message_was_cut_off_nothing_more_is_sent() -> None:
    """Half a frame is on the wire: the next one would be read as its rest."""
    left, _right = trio.testing.lockstep_stream_pair()
    connection = Connection(left, MAGIC, compute=inline)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.send, Ping(2))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    with pytest.raises(ConnectionLost, match="cut off"):
        await connection.send(Ping(3))


@pytest.mark.trio
async def test_a_lie_is_a_named_fault_each_time() -> None:
    """A malformed message stays in the way: the connection is of no use any more."""
    connection, _, feed = pair()
    await feed.send_all(encode_frame(MAGIC, "senddsq", b"\2") + framed(Ping(1)))
    for _ in range(2):
        with pytest.raises(PeerMisbehaved) as caught:
            await connection.receive()
        assert caught.value.fault is Fault.MALFORMED_MESSAGE


@pytest.mark.trio
async def test_memory_is_bounded_by_one_frame_and_one_piece() -> None:
    """A peer that sends faster than we take is not read further ahead."""
    connection, _, feed = pair()
    await feed.send_all(framed(Ping(1)) * 20_000)
    most = 0
    for _ in range(20_000):
        assert await connection.receive() == Ping(1)
        most = max(most, connection._decoder.buffered)
    assert most <= PIECE + 32
    assert connection.bytes_in == 20_000 * 32


@pytest.mark.trio
async def test_messages_are_read_in_the_negotiated_version() -> None:
    """The version attribute decides the form, at once."""
    seen: list[int] = []

    class Noting(Unknown):
        def to_payload(self, version: int) -> bytes:
            seen.append(version)
            return b""

    connection, _, _ = pair()
    await connection.send(Noting("x", b""))
    connection.version = 70230
    await connection.send(Noting("x", b""))
    assert seen == [PROTOCOL_VERSION, 70230]


@pytest.mark.trio
async def test_production_computes_in_a_thread() -> None:
    """Trio's own `to_thread.run_sync` is a fitting compute, and faults found there come through."""
    near, far = trio.testing.memory_stream_pair()
    connection = Connection(near, MAGIC, compute=trio.to_thread.run_sync)
    await far.send_all(framed(BIG) + encode_frame(MAGIC, "cfilter", bytes(100_000)))
    assert await connection.receive() == BIG
    with pytest.raises(PeerMisbehaved):
        await connection.receive()
